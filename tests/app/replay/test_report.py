import io

import msgspec
from rich.console import Console

from app.replay import report
from app.replay.client import Decision
from app.replay.report import LiveReport, summary, table
from app.replay.tally import ReplayResult, Tally


def result() -> ReplayResult:
    """A small result."""
    tally = Tally(["a", "b"])
    for number in range(4):
        tally.decided(Decision(str(number), "a"), clicked=number == 0)
    tally.fed_back(["accepted"])
    tally.retried()
    tally.failed("POST /v1/recommendations: 503")
    return tally.result(expected={"a": 0.3, "b": 0.1})


def test_table_has_a_row_for_each_arm() -> None:
    """Figures are shown with their units, and those that do not exist as a dash."""
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(table(result()))
    text = console.export_text()
    rows = [line.split() for line in text.splitlines()]
    assert [row for row in rows if row and row[0] in {"a", "b"}] == [
        ["a", "4", "100.0%", "100.0%", "1", "25.0%", "30.0%", "–"],
        ["b", "0", "0.0%", "0.0%", "0", "–", "10.0%", "–"],
    ]


def test_summary_says_what_went_wrong() -> None:
    """Trouble is named with its count and the last reason; without trouble there is no such line."""
    text = summary(result())
    assert "best arm: a, dealt 100.0% of the last 10 seconds'" in text
    assert "feedback: 1 accepted" in text
    assert "1 retries, 1 failures\nlast failure: POST /v1/recommendations: 503" in text
    calm = msgspec.structs.replace(result(), retries=0, failures=0, last_failure="")
    assert "failure" not in summary(calm)


def test_quiet_without_a_terminal() -> None:
    """A log file gets a line now and then instead of a moving bar."""
    out = io.StringIO()
    with LiveReport(Console(file=out, width=120), total=10) as live:
        live.show(result())
        assert out.getvalue() == ""
        live._last_line -= report.LINE_EVERY_S
        live.show(result())
        live.show(result())
    assert out.getvalue() == "4 of 10 decisions: a 100% b 0% · 1 retries, 1 failures\n"


def test_bar_on_a_terminal() -> None:
    """A terminal sees the count and the shares move."""
    out = io.StringIO()
    with LiveReport(Console(file=out, width=120, force_terminal=True), total=10) as live:
        live.show(result())
    assert "4/10" in out.getvalue()
    assert "a 100%" in out.getvalue()
