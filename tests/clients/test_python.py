"""The Python client against real services: answered, slow, killed and back."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from croupier_client import Away, Client, Outbox, Refused
from tests.acceptance.talking import arms, rows
from tests.running import ADMIN_KEY, Service, until

EXPERIMENT = {
    "arms": [
        {"key": "a", "recommender": {"kind": "static", "items": ["i1", "i2", "i3"]}},
        {"key": "b", "recommender": {"kind": "static", "items": ["i3", "i2", "i1"]}},
    ],
    "reward": {"missing": "explicit"},
}


@pytest.fixture(scope="module")
def experiment(service: Service) -> str:
    """An experiment of these tests' own."""
    service.api().put("/v1/experiments/client", EXPERIMENT).ok()
    return "client"


@contextmanager
def deaf_at_first(service: Service) -> Iterator[str]:
    """The URL of something between client and service that forwards requests and keeps the first answer for itself."""
    upstream, answered = urllib3.PoolManager(), iter([False])

    class Between(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = upstream.request("POST", service.url + self.path, body=body, headers=dict(self.headers))
            if next(answered, True):
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)
            else:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    upstream.clear()


def test_a_decision_is_made_and_its_reward_is_counted(service: Service, experiment: str) -> None:
    """Recommend, reward, flush: the service knows both."""
    with Client(service.url, ADMIN_KEY, timeout_s=10) as client:
        decision = client.recommend(experiment, "user-1", k=2, context={"device": "ios"})
        assert (decision.arm in {"a", "b"}, len(decision.items), decision.is_fallback) == (True, 2, False)
        assert client.reward(decision, 1, item_id=decision.items[0].item_id, position=1)
        client.flush()
        assert client.outbox.counts["accepted"] == 1
    assert sum(arm["rewards"] for arm in arms(service.api(), experiment).values()) == 1


def test_a_retry_gets_the_first_decision(service: Service, experiment: str) -> None:
    """An answer that is lost on the way costs a second try, and there is one decision."""
    with deaf_at_first(service) as url, Client(url, ADMIN_KEY, timeout_s=20) as client:
        decision = client.recommend(experiment, "lost-answer")
    found = rows(service.database_url, "SELECT decision_id, arm FROM decisions WHERE unit = 'lost-answer'")
    assert [(str(decision_id), arm) for decision_id, arm in found] == [(decision.decision_id, decision.arm)]


def test_a_wrong_request_is_refused_and_says_where(service: Service, experiment: str) -> None:
    """No retry and no fallback list: it is a mistake in the application."""
    with Client(service.url, ADMIN_KEY, timeout_s=10, fallback=("x",)) as client:
        with pytest.raises(Refused) as caught:
            client.recommend(experiment, "u", k=0)
        assert (caught.value.status, caught.value.problem["errors"][0]["pointer"]) == (422, "#/k")


def test_one_rejected_event_does_not_hold_up_the_others(service: Service, experiment: str) -> None:
    """Each event has a result of its own; the outbox is empty afterwards."""
    with Client(service.url, ADMIN_KEY, timeout_s=10) as client:
        decision = client.recommend(experiment, "user-2")
        client.reward(decision, 1, metric="unknown")
        client.reward(decision, 1)
        until(lambda: not len(client.outbox), "the outbox to empty by itself")
        assert client.outbox.counts == {"rejected": 1, "accepted": 1}


def test_events_wait_for_a_key_that_is_taken(service: Service, experiment: str) -> None:
    """A wrong key is no fault of the events."""
    with Client(service.url, ADMIN_KEY, timeout_s=10) as client:
        decision = client.recommend(experiment, "user-3")
    with Client(service.url, "wrong", timeout_s=10) as client:
        client.reward(decision, 1)
        with pytest.raises(Refused, match="401"):
            client.flush()
        assert len(client.outbox) == 1


def test_a_killed_service_costs_the_fallback_list_and_no_feedback(own_service: Service, tmp_path: Path) -> None:
    """Lists come in time while it is away; what was told meanwhile, also by a process that ended, is counted once."""
    own_service.api().put("/v1/experiments/killed", EXPERIMENT).ok()
    path = tmp_path / "outbox"
    with Client(own_service.url, ADMIN_KEY, timeout_s=10) as client:
        decision = client.recommend("killed", "user")
    own_service.stop("web", signal.SIGKILL)
    with Client(own_service.url, ADMIN_KEY, timeout_s=1, fallback=("x", "y", "z"), outbox_path=path) as client:
        until(lambda: client.recommend("killed", "user").is_fallback, "the workers to end")
        began = time.monotonic()
        away = client.recommend("killed", "user", k=2)
        assert time.monotonic() - began < 3
        assert ([item.item_id for item in away.items], away.arm, away.reason) == (["x", "y"], None, "away")
        assert not client.reward(away, 1)
        assert client.reward(decision, 1)
        with pytest.raises(Away):
            client.flush()
    assert path.read_text().count("\n") == 1
    own_service.start("web")
    until(lambda: _answers(own_service), "the service to be back")
    with Client(own_service.url, ADMIN_KEY, outbox_path=path) as client:
        until(lambda: not len(client.outbox), "the outbox to empty by itself")
    assert path.read_text() == ""
    counted = rows(own_service.database_url, "SELECT count(*) FROM feedback")
    assert counted == [(1,)]


def test_an_event_that_was_taken_but_not_acknowledged_counts_once(service: Service, experiment: str) -> None:
    """The same events sent twice are duplicates."""
    with Client(service.url, ADMIN_KEY, timeout_s=10) as client:
        decision = client.recommend(experiment, "user-4")
    with deaf_at_first(service) as url, Client(url, ADMIN_KEY) as client:
        client.reward(decision, 1)
        until(lambda: not len(client.outbox), "the second try")
        assert client.outbox.counts == {"duplicate": 1}


def test_the_outbox_is_bounded(tmp_path: Path) -> None:
    """Beyond its capacity the oldest events are dropped, and counted; what a cut line was is forgotten."""
    path = tmp_path / "outbox"
    path.write_text('{"event_id": "0"}\n{"event_id": "cut')

    def away(_: object) -> list[dict[str, str]]:
        raise Away("always")

    outbox = Outbox(away, capacity=3, path=path)
    for number in range(1, 6):
        outbox.add({"event_id": str(number)})
    outbox.close()
    assert (len(outbox), outbox.counts) == (3, {"dropped": 3})
    assert len(Outbox(_taken, capacity=3, path=path)) <= 3


def test_a_batch_is_sent_while_others_come(tmp_path: Path) -> None:
    """Nothing is lost or sent twice when threads add while batches go."""
    sent: list[str] = []

    def take(events: object) -> list[dict[str, str]]:
        assert isinstance(events, list)
        sent.extend(event["event_id"] for event in events)
        return [{"status": "accepted"} for _ in events]

    outbox = Outbox(take, capacity=100_000, path=tmp_path / "outbox", interval_s=0.001)
    threads = [threading.Thread(target=_add, args=(outbox.add, name)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.close()
    assert sorted(sent) == sorted(f"{name}{number}" for name in "abcd" for number in range(200))
    assert outbox.counts == {"accepted": 800}


def _add(add: Callable[[dict[str, str]], None], name: str) -> None:
    for number in range(200):
        add({"event_id": f"{name}{number}"})


def _taken(events: object) -> list[dict[str, str]]:
    assert isinstance(events, list)
    return [{"status": "accepted"} for _ in events]


def _answers(service: Service) -> bool:
    with Client(service.url, ADMIN_KEY, timeout_s=1) as client:
        return not client.recommend("killed", "again").is_fallback
