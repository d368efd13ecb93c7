"""`croupier batch`: what it prints, and its exit status."""

from datetime import datetime

from click.testing import CliRunner, Result

from app.cli import main
from app.store.database import Database
from tests.app.batch.stream import DAY, HOUR, REWARDS, of, random_stream, today
from tests.app.building import execute, query

YESTERDAY = today() - DAY


def croupier(database: Database, *arguments: str) -> Result:
    """Runs the command."""
    url = database.engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(main, ["batch", *arguments], env={"DATABASE_URL": url})


def text(moment: datetime) -> str:
    """A moment as options have it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_it_does_what_is_due_and_says_so(home: Database) -> None:
    """A line for each window; what is done is not done again unless asked to; without a terminal there is no bar."""
    random_stream("home", of(REWARDS["click"]), 1, days=1).store(home)
    asked = ("home", "--window", "3600", "--since", text(YESTERDAY), "--until", text(YESTERDAY + 3 * HOUR), "--k", "3")
    first = croupier(home, *asked)
    assert first.exit_code == 0, first.output
    starts = [f"home {YESTERDAY + hour * HOUR:%Y-%m-%dT%H:%MZ}" for hour in range(3)]
    assert [line.split(": ")[0] for line in first.stdout.splitlines()] == starts
    assert first.stderr == ""
    assert query(home, "SELECT DISTINCT window_s, k FROM metric_values ORDER BY 2") == [(3600, 0), (3600, 3)]
    assert croupier(home, *asked).stdout == "Every window that is over is done\n"
    assert croupier(home, *asked, "--again").stdout == first.stdout


def test_it_fails_when_an_experiment_cannot_be_measured(home: Database) -> None:
    """And says which; the others are measured."""
    for key in ("fine", "poisoned"):
        random_stream(key, of(REWARDS["click"]), 3, days=1, per_day=5).store(home)
    execute(home, "UPDATE allocations SET means = '{\"a\": \"x\"}' WHERE experiment = 'poisoned'")
    failed = croupier(home, "--since", text(YESTERDAY))
    assert failed.exit_code == 1
    assert "Could not be measured: poisoned" in failed.stderr
    assert failed.stdout.startswith("fine ")


def test_what_makes_no_sense_is_refused(database: Database) -> None:
    """With what is wrong."""
    for arguments, status, complaint in (
        (("nowhere",), 1, "There is no experiment 'nowhere'"),
        (("--window", "7"), 2, "'7' is not one of"),
        (("--k", "0"), 2, "0 is not in the range 1<=x<=100"),
        (("--since", "yesterday"), 2, "must be like 2026-11-24T09:00:00Z"),
    ):
        found = croupier(database, *arguments)
        assert (found.exit_code, complaint in found.stderr) == (status, True), found.output
