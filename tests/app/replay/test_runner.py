import io
import os
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest
from rich.console import Console

from app.replay import ReplayOptions, ReplayResult, replay_msweb
from app.replay.client import RequestRefused, ServiceAway
from tests.app.replay.conftest import StandIn


def run(stand_in: StandIn, **changes: object) -> tuple[ReplayResult, str]:
    """Replay against the stand-in; the result and what was printed."""
    out = io.StringIO()
    options = {"url": stand_in.url, "key": "k", "rate": 400.0, "decisions": 120, "window_s": 0.5, **changes}
    return replay_msweb(ReplayOptions(**options), Console(file=out, width=120)), out.getvalue()  # type: ignore[arg-type]


def test_replays_users_and_their_clicks(stand_in: StandIn) -> None:
    """Catalogue, experiment, all decisions, then one event for each click: that is what the service gets."""
    result, printed = run(stand_in)
    assert stand_in.paths()[:2] == ["PUT /v1/items", "PUT /v1/experiments/msweb"]
    assert stand_in.paths()[-1] == "GET /v1/experiments/msweb/arms"
    assert result.decisions == len(stand_in.decisions) == 120
    clicks = sum(row.clicks for row in result.arms)
    assert clicks == len(stand_in.events) > 20
    assert result.feedback == {"accepted": clicks}
    assert result.best_arm == "similar"
    assert "What the replay saw" in printed
    assert not result.interrupted


def test_requests_and_events_have_the_shape_of_the_api(stand_in: StandIn) -> None:
    """Requests carry a UUIDv7, the history and k; events the item, its position and an id."""
    run(stand_in, decisions=60, k=4)
    requests = [body for _, path, body in stand_in.calls if path == "/v1/recommendations"]
    assert {(body["experiment"], body["k"]) for body in requests} == {("msweb", 4)}
    assert all(UUID(body["decision_id"]).version == 7 for body in requests)
    assert all(body["context"]["history"] for body in requests)
    for event in stand_in.events.values():
        assert event["item_id"] == ("1008", "1034", "1004")[event["position"] - 1]
        assert (event["metric"], event["value"], event["event_id"]) == ("click", 1, "click-1")
        assert event["occurred_at"].endswith("+00:00")


def test_the_same_seed_sends_the_same_users(stand_in: StandIn) -> None:
    """A replay can be repeated, user by user."""
    run(stand_in, decisions=30, concurrency=1)
    run(stand_in, decisions=30, concurrency=1)
    units = [body["unit"] for _, path, body in stand_in.calls if path == "/v1/recommendations"]
    assert units[:30] == units[30:]


def test_survives_a_service_that_is_away(stand_in: StandIn) -> None:
    """503 at the start and later are waited out; nothing is lost."""
    stand_in.away = 3
    stand_in.at_decision[50] = lambda: setattr(stand_in, "away", 40)
    result, _ = run(stand_in)
    assert (result.decisions, result.failures) == (120, 0)
    assert result.retries == 43


def test_lost_answers_are_asked_for_again(stand_in: StandIn) -> None:
    """A cut connection leads to a retry with the same id, so nobody is served or counted twice."""
    stand_in.hang_up = 5
    result, _ = run(stand_in)
    assert result.decisions == len(stand_in.decisions) == 120
    assert result.retries == 5
    assert sum(result.feedback.values()) == len(stand_in.events)


def test_refused_decisions_are_counted(stand_in: StandIn) -> None:
    """A service that begins to refuse does not stop the replay; the reason is shown."""
    problem = (404, {"title": "There is no such thing"})
    stand_in.at_decision[50] = lambda: setattr(stand_in, "problem", problem)
    result, printed = run(stand_in)
    assert result.decisions == 51
    assert result.failures > 60
    assert "last failure: " in printed
    assert "404 There is no such thing" in printed


def test_refused_set_up_is_an_error(stand_in: StandIn) -> None:
    """A wrong key is reported at once, not after ten thousand failures."""
    stand_in.problem = (401, {"title": "No valid API key was given"})
    with pytest.raises(RequestRefused, match="401 No valid API key"):
        run(stand_in)


def test_absent_service_is_an_error_in_the_end() -> None:
    """Patience has its limit, then the address is named."""
    stand_in = StandIn()
    stand_in.url = "http://127.0.0.1:9"
    with pytest.raises(ServiceAway, match=r"127\.0\.0\.1:9"):
        run(stand_in, patience_s=0.3)


SCRIPT = """
import sys
from app.replay import ReplayOptions, replay_msweb
replay_msweb(ReplayOptions(url=sys.argv[1], key="k", rate=200, decisions=None, window_s=50))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_table(number: signal.Signals, stand_in: StandIn) -> None:
    """Ctrl-C and SIGTERM: pending clicks are sent, the table is printed, the exit status is 0."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, stand_in.url], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len(stand_in.decisions) < 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, number)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "What the replay saw" in printed
    assert f"{len(stand_in.decisions):,} decisions in" in printed
    assert f"feedback: {len(stand_in.events):,} accepted" in printed


def test_interrupt_while_the_service_is_away(stand_in: StandIn) -> None:
    """Even a replay that has not begun ends at once, with a table of nothing."""
    stand_in.away = 10**6
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, stand_in.url], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while stand_in.away > 10**6 - 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "0 decisions" in printed
