"""A service that has run for weeks, a browser, and operators: what tests of pages share."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app import experiments, operators
from app.operators import Role
from app.store.database import Database
from tests.app.building import query, specification
from tests.console import watching
from tests.console.populating import History, alert, fill, reject
from tests.running import Service, running_service

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
# Debian's Chromium; no sandbox, since CI runs as root.
_CHROMIUM = shutil.which("chromium")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
_BUILD = ROOT / "app" / "console" / "static" / "build" / "main.js"


@dataclass(frozen=True, kw_only=True)
class Console:
    """A populated service: experiments `home` (a clear winner), `search` (paused) and `new` (nothing yet), and more."""

    service: Service
    database: Database

    @property
    def url(self) -> str:
        """Of the console, without a slash at the end."""
        return f"{self.service.url}/console"

    @property
    def decision(self) -> str:
        """Id of a decision of the experiment `lists`, which somebody clicked on."""
        text = "SELECT decision_id FROM feedback WHERE metric = 'revenue' ORDER BY decision_id LIMIT 1"
        return str(query(self.database, text)[0][0])


@pytest.fixture(scope="session")
def console(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The service, with the operators `ana` (operator) and `vic` (viewer)."""
    url, now = new_database(), datetime.now(UTC)
    database = Database(url)
    operators.create(database, "ana", PASSWORD, Role.OPERATOR, actor="tests")
    operators.create(database, "vic", PASSWORD, Role.VIEWER, actor="tests")
    populate(database, now)
    with running_service(url, tmp_path_factory.mktemp("console"), roles=("web",)) as service:
        api = service.api()
        watching.traffic(api, "lists")
        api.close()
        yield Console(service=service, database=database)
    database.close()


def populate(database: Database, now: datetime) -> None:
    """What pages have to show. Add what yours needs."""
    arms = {"popular": 0.041, "similar": 0.047, "editors-choice": 0.036, "two-tower": 0.052}
    fill(database, "home", History(rates=arms), now)
    fill(database, "search", History(rates={"bm25": 0.11, "hybrid": 0.112}, days=12, state="paused", seed=2), now)
    fill(database, "checkout-upsell", History(rates={"none": 0.02, "one": 0.021}, days=2, business=False, seed=3), now)
    fill(database, "newsletter", History(rates={"a": 0.3, "b": 0.2}, days=40, per_day=900, state="stopped"), now)
    experiments.put(database, "new", specification(), state="draft", if_match=None, actor="ana")
    alert(database, "home", "fallbacks", now, severity="ticket")
    alert(database, "search", "sample-ratio", now)
    alert(database, "home", "reward-change", now, state="resolved")
    alert(database, "home", "feature-drift", now, severity="ticket", feature="context/device")
    alert(database, "home", "unknown-items", now, severity="ticket")
    alert(database, "home", "starvation", now, severity="ticket", state="pending", arm="editors-choice")
    reject(database, "home", "similar", 30)
    watching.days(database, "home", [*arms], now)
    watching.data_quality(database, "home", now)
    watching.drift(database, "home", [*arms], now)
    experiments.put(database, "lists", watching.LISTS, state="running", if_match=None, actor="ana")
    watching.log(database, "lists", now)
    watching.avatar(database, "lists", "new-reader", now, unit="avatar-1")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; tests that need it are skipped where it is not installed."""
    if _CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    if not _BUILD.exists():
        pytest.skip("the console's scripts are not built: sh scripts/set-up, with the npm registry in reach")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def states(chromium: Browser, console: Console, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Logged in once each: what contexts of `ana` and `vic` begin with."""
    folder, found = tmp_path_factory.mktemp("states"), {}
    for name in ("ana", "vic"):
        page = chromium.new_page()
        log_in(page, console, name)
        found[name] = folder / f"{name}.json"
        page.context.storage_state(path=found[name])
        page.context.close()
    return found


@pytest.fixture
def as_operator(chromium: Browser, states: dict[str, Path]) -> Iterator[Page]:
    """A page of `ana`, who may act."""
    context = chromium.new_context(storage_state=states["ana"])
    yield context.new_page()
    context.close()


@pytest.fixture
def as_viewer(chromium: Browser, states: dict[str, Path]) -> Iterator[Page]:
    """A page of `vic`, who may only look."""
    context = chromium.new_context(storage_state=states["vic"])
    yield context.new_page()
    context.close()


def log_in(page: Page, console: Console, name: str, password: str = PASSWORD) -> None:
    """Fills in the form and sends it."""
    page.goto(f"{console.url}/log-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()


def drawn(page: Page) -> None:
    """Waits until each chart shows a picture or says why there is none."""
    expect(page.locator("[data-plot]:empty")).to_have_count(0)
