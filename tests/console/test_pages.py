"""Every page, as a browser sees it: both themes, both widths, on a service that has run for weeks.

A new page is a line in `PAGES`.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.console.conftest import ROOT, Console

# Name of the screenshot → path. Add yours.
PAGES = {
    "log-in": "/log-in",
    "overview": "/",
    "experiment": "/experiments/home",
    "experiment-new": "/experiments/new",
    "chart-table": "/experiments/home/charts/rate?range=30d",
    "confirm": "/experiments/home/actions/ship?arm=two-tower",
}
_SCREENSHOTS = ROOT / "build" / "screenshots"
_AXE = ROOT / "app" / "console" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_NOTE_VIOLATIONS = "addEventListener('securitypolicyviolation', event => console.error('CSP: ' + event.blockedURI))"
_RUN_AXE = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(found => ['serious', 'critical'].includes(found.impact))
    .map(found => found.id + ': ' + found.nodes.map(node => node.html.slice(0, 120)).join(' | '))"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, theme: str, width: int, chromium: Browser, console: Console, states: dict[str, Path]) -> None:
    """It loads without console errors or CSP violations, axe finds nothing serious, and it does not scroll sideways."""
    state = None if name == "log-in" else states["ana"]
    context = chromium.new_context(
        storage_state=state, color_scheme=theme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    page, errors = context.new_page(), list[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(_NOTE_VIOLATIONS)
    answer = page.goto(console.url + PAGES[name], wait_until="networkidle")
    assert answer is not None
    assert answer.status == 200
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=_SCREENSHOTS / f"{name}-{theme}-{width}.png", full_page=True)
    assert errors == []
    assert _axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    context.close()


def _axe(page: Page) -> list[str]:
    """Serious findings of axe; it is put in from outside, past the policy that keeps foreign scripts out."""
    page.evaluate(_AXE.read_text())
    found: list[str] = page.evaluate(_RUN_AXE)
    return found
