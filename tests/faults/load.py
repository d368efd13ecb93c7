"""Clients that remember everything they were promised, and the comparison of that with the database.

A client makes its own decision ids and tries each request a few times with the same one: after an error of the
connection, and after 503. A decision counts as *answered* when one of these attempts got a 2xx; the time it took
is that of all attempts and the waits between them.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from click.testing import CliRunner
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from app.cli import main
from tests.acceptance.talking import EAGER, fresh_id, rows
from tests.running import ADMIN_KEY, Service, until

__all__ = ["Decision", "Load", "Tally", "check_promises", "experiment", "has_database", "load_on", "until_recovered"]

_ATTEMPTS = 5
_PAUSE_S = 0.05  # before the second attempt; twice as long before each further one
_TIMEOUT = urllib3.Timeout(connect=1.0, read=5.0)
_HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
_RETRIED = 503

Event = tuple[str, str]  # metric and event id


@dataclass
class Decision:
    """One decision: what was asked and sent, and what was acknowledged."""

    decision_id: str
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  # until it was answered or given up
    answers: list[dict[str, Any]] = field(default_factory=list)
    sent: dict[Event, float] = field(default_factory=dict)
    kept: set[Event] = field(default_factory=set)  # those that were acknowledged


@dataclass(frozen=True)
class Tally:
    """What became of the decisions that were asked for within a span of time. Seconds."""

    asked: int
    answered: int
    spooled: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> "Tally":
        """Counts decisions."""
        times = sorted(d.seconds for d in decisions) or [0.0]
        return cls(
            asked=len(decisions),
            answered=sum(bool(d.answers) for d in decisions),
            spooled=sum(d.answers[0]["durability"] == "spooled" for d in decisions if d.answers),
            p50=times[len(times) // 2],
            p99=times[len(times) * 99 // 100],
            longest=times[-1],
        )

    @property
    def share(self) -> float:
        """The share that was answered."""
        return self.answered / max(self.asked, 1)


class Load:
    """Clients that ask for decisions and send feedback until they are told to stop.

    Args:
        urls: where the service is reached; a client whose connection is refused goes on to the next.
        experiment: its key.
        pause_s: how long a client rests after each decision.
    """

    def __init__(self, urls: Sequence[str], experiment: str, *, pause_s: float = 0.01) -> None:
        self.urls = urls
        self.experiment = experiment
        self.pause_s = pause_s
        self.over = threading.Event()
        self.decisions: list[Decision] = []
        self.statuses: Counter[int] = Counter()
        self.refused = 0  # connections that nobody took
        self.reset = 0  # new connections that the system took, and the service had not
        self.broken: list[str] = []  # requests that were sent and not answered
        self.waits: list[str] = []  # Retry-After of each 503

    @property
    def answered(self) -> int:
        """How many decisions were answered so far."""
        return sum(bool(d.answers) for d in self.decisions)

    def wait_for(self, more: int, patience_s: float = 30.0) -> None:
        """Until so many more decisions were answered."""
        wanted = self.answered + more
        until(lambda: self.answered >= wanted, f"{more} more answers", patience_s)

    def between(self, start: float, end: float) -> Tally:
        """The decisions first asked for between two moments of `time.monotonic()`."""
        return Tally.of([d for d in list(self.decisions) if start <= d.started < end])


class Client:
    """One of them, over connections of its own."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._unit = f"u{number}"
        self._random = random.Random(number)
        self._pools = [
            urllib3.connection_from_url(url, maxsize=1, retries=False, timeout=_TIMEOUT) for url in load.urls
        ]
        self._at = 0

    def run(self) -> None:
        """Until the load is over."""
        while not self._load.over.is_set():
            decision = Decision(fresh_id())
            self._load.decisions.append(decision)
            self.decide(decision)
            if decision.answers:
                self.feed_back(decision)
            time.sleep(self._load.pause_s)
        for pool in self._pools:
            pool.close()

    def decide(self, decision: Decision) -> None:
        """Asks for a decision; now and then again after it was answered, as impatient frontends do."""
        body = {"experiment": self._load.experiment, "unit": self._unit, "decision_id": decision.decision_id}
        answer = self._persist("/v1/recommendations", body)
        decision.seconds = time.monotonic() - decision.started
        if answer is not None:
            decision.answers.append(answer)
            if self._random.random() < 0.1:
                again = self._persist("/v1/recommendations", body)
                decision.answers += [again] if again is not None else []

    def feed_back(self, decision: Decision) -> None:
        """Sends a click, two sums and one of these again, in any order, and now and then all of it twice."""
        clicked = int(decision.decision_id[-1], 16) < 5
        events = {("click", "c"): float(clicked), ("revenue", "1"): 2.0, ("revenue", "2"): 3.0}
        decision.sent |= events
        keys = [*events, self._random.choice(list(events))]
        self._random.shuffle(keys)
        body = [
            {"decision_id": decision.decision_id, "metric": metric, "event_id": name, "value": events[metric, name]}
            for metric, name in keys
        ]
        for _ in range(1 + (self._random.random() < 0.1)):
            answer = self._persist("/v1/feedback", {"events": body})
            if answer is not None:
                assert {r["status"] for r in answer["results"]} <= {"accepted", "duplicate", "unmatched"}, answer
                decision.kept |= set(keys)

    def _persist(self, path: str, body: object) -> dict[str, Any] | None:
        """The answer to a request, tried a few times."""
        data = json.dumps(body)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            answer = self._try(path, data)
            if answer is not None:
                return answer
        return None

    def _try(self, path: str, data: str) -> dict[str, Any] | None:
        """One attempt, at every address until one takes the connection."""
        for _ in self._pools:
            pool = self._pools[self._at]
            assert pool.pool is not None
            kept = any(c is not None and c.is_connected for c in pool.pool.queue)
            try:
                response = pool.request("POST", path, body=data, headers=_HEADERS)
            except (NewConnectionError, ConnectTimeoutError):
                self._load.refused += 1
                self._at = (self._at + 1) % len(self._pools)
                continue
            except HTTPError as error:
                if not kept and isinstance(error.args[-1], ConnectionResetError):
                    self._load.reset += 1
                else:
                    self._load.broken.append(repr(error))
                return None
            self._load.statuses[response.status] += 1
            if response.status == _RETRIED:
                self._load.waits.append(response.headers.get("Retry-After", ""))
                return None
            assert response.status == 200, response.data
            return dict(response.json())
        return None


def experiment(service: Service, key: str, **more: object) -> None:
    """Makes an experiment that learns at once."""
    specification = {
        "arms": [{"key": "a"}, {"key": "b"}],
        "policy": EAGER,
        "reward": {"missing": "explicit"},
        "metrics": [{"key": "revenue", "level": "business", "aggregation": "sum"}],
        **more,
    }
    api = service.api()
    api.put(f"/v1/experiments/{key}", specification).ok()
    api.close()


@contextmanager
def load_on(
    service: Service, key: str, *, clients: int = 8, also: Sequence[str] = (), **more: object
) -> Iterator[Load]:
    """Traffic on an experiment of its own while the block runs.

    Args:
        service: what is asked.
        key: of the experiment.
        clients: how many.
        also: further addresses of the same service.
        more: parts of the experiment's specification.
    """
    experiment(service, key, **more)
    load = Load([service.url, *also], key)
    with ThreadPoolExecutor(clients) as threads:
        running = [threads.submit(Client(load, number).run) for number in range(clients)]
        try:
            load.wait_for(50)
            yield load
        finally:
            load.over.set()
    for client in running:
        client.result()


def spool_files(service: Service) -> list[Path]:
    """What waits in a service's spool, or was set aside there."""
    folder = Path(service.environment["CROUPIER_DATA_DIR"]) / "spool"
    return [path for path in folder.glob("*") if path.suffix != ".new"]


def has_database(service: Service) -> bool:
    """Whether a service is up and its database answers."""
    api = service.api()
    try:
        return bool(api.get("/readyz").body["checks"]["database"]["ok"])
    except HTTPError:
        return False
    finally:
        api.close()


def until_recovered(service: Service) -> None:
    """Until the database answers, the spool is empty and no feedback waits for its decision."""
    until(lambda: has_database(service), "the database to be back")
    until(lambda: not spool_files(service), "the spool to be replayed")
    waiting = "SELECT count(*) FROM unmatched_feedback"
    until(lambda: rows(service.database_url, waiting) == [(0,)], "late feedback to be matched")


def check_promises(service: Service, load: Load) -> None:
    """Compares the clients' history with the database: nothing lost, nothing doubled, nothing invented."""
    until_recovered(service)
    asked = {d.decision_id: d for d in load.decisions}
    acknowledged = {d.decision_id for d in load.decisions if d.answers}
    query = "SELECT decision_id::text, arm FROM decisions WHERE experiment = :key"
    recorded = dict(rows(service.database_url, query, key=load.experiment))
    assert acknowledged
    assert acknowledged - recorded.keys() == set()
    assert recorded.keys() <= asked.keys()
    for decision_id in acknowledged:
        answered = {answer["arm"] for answer in asked[decision_id].answers}
        assert answered == {recorded[decision_id]}, decision_id
    _check_events(service, load, asked)
    _check_counts(service, load, len(recorded))
    # The variable that asks for the long form is no setting.
    verified = CliRunner().invoke(main, ["verify"], env={**service.environment, "CROUPIER_FAULTS": None})
    assert verified.exit_code == 0, verified.output


def _check_events(service: Service, load: Load, asked: dict[str, Decision]) -> None:
    """Every acknowledged event is recorded once, with its value, and was folded once."""
    query = """SELECT decision_id::text, metric, event_id, f.value FROM feedback f JOIN decisions USING (decision_id)
        WHERE experiment = :key"""
    found = {(i, m, e): value for i, m, e, value in rows(service.database_url, query, key=load.experiment)}
    kept = {(d.decision_id, *event): d.sent[event] for d in load.decisions for event in d.kept}
    assert kept.keys() - found.keys() == set()
    assert all(found[event] == value for event, value in kept.items())
    assert all((metric, name) in asked[i].sent for i, metric, name in found)
    query = """SELECT decision_id::text, o.value, events FROM outcomes o JOIN decisions USING (decision_id)
        WHERE experiment = :key AND metric = 'revenue'"""
    folded = {i: (value, events) for i, value, events in rows(service.database_url, query, key=load.experiment)}
    whole = [d.decision_id for d in load.decisions if d.kept >= {("revenue", "1"), ("revenue", "2")}]
    assert {folded[decision_id] for decision_id in whole} <= {(5.0, 2)}


def _check_counts(service: Service, load: Load, decisions: int) -> None:
    """The counts are those of the log, to the last one."""
    query = "SELECT sum(decisions)::int FROM decision_counts WHERE experiment = :key"
    assert rows(service.database_url, query, key=load.experiment) == [(decisions,)]
