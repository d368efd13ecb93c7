"""Every page, as a browser sees it: both themes, both widths, on a service that has run for weeks.

A new page is a line in `PAGES`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from tests.console.conftest import ROOT, Console, drawn

# Name of the screenshot → path. Add yours.
PAGES = {
    "log-in": "/log-in",
    "overview": "/",
    "experiment": "/experiments/home",
    "experiment-new": "/experiments/new",
    "chart-table": "/experiments/home/charts/rate?range=30d",
    "confirm": "/experiments/home/actions/ship?arm=two-tower",
    "hierarchy": "/experiments/lists/metrics",
    "quality": "/quality?experiment=home",
    "quality-empty": "/quality?experiment=new",
    "data": "/data?experiment=home",
    "data-empty": "/data?experiment=new",
    "quarantine": "/data/quarantine?experiment=home",
    "users": "/users",
    "unit": "/users?unit=reader-7",
    "decision": "/users/decisions/{decision}",
    "preview": "/preview?experiment=lists&unit=reader-7",
    "avatar": "/preview/avatars/new-reader?experiment=lists",
    "evaluate": "/evaluate?experiment=lists",
    "evaluated": "/evaluate?experiment=lists&target=arm&arm=fresh",
    "alerts": "/alerts",
    "alert": "/alerts/1",
    "rules": "/alerts/rules?experiment=home",
    "silence": "/alerts/1/silence",
    "service": "/service",
}
_SCREENSHOTS = ROOT / "build" / "screenshots"
_AXE = ROOT / "app" / "console" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_NOTE_VIOLATIONS = "addEventListener('securitypolicyviolation', event => console.error('CSP: ' + event.blockedURI))"
_RUN_AXE = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(found => ['serious', 'critical'].includes(found.impact))
    .map(found => found.id + ': ' + found.nodes.map(node => node.html.slice(0, 120)).join(' | '))"""


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    theme: Literal["light", "dark"]
    width: int


LOOKS = [Look("light", 1280), Look("dark", 1280), Look("light", 390), Look("dark", 390)]


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, chromium: Browser, console: Console, states: dict[str, Path]) -> None:
    """It loads without console errors or CSP violations; axe finds nothing serious, and it does not scroll sideways."""
    context = chromium.new_context(storage_state=None if name == "log-in" else states["ana"])
    page, errors = context.new_page(), list[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(_NOTE_VIOLATIONS)
    answer = page.goto(console.url + PAGES[name].replace("{decision}", console.decision))
    assert answer is not None
    assert answer.status == 200
    drawn(page)
    page.evaluate(_AXE.read_text())  # from outside, past the policy that keeps foreign scripts out
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for look in LOOKS:
        page.emulate_media(color_scheme=look.theme)
        page.set_viewport_size(ViewportSize(width=look.width, height=900))
        page.screenshot(path=_SCREENSHOTS / f"{name}-{look.theme}-{look.width}.png", full_page=True)
        assert page.evaluate(_RUN_AXE) == [], look
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"it scrolls sideways: {look}"
    assert errors == []
    context.close()
