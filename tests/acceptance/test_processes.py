"""Processes that stop, die and come back: nothing that was acknowledged is lost."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from app.embedded import EmbeddedPostgres
from app.store.migrate import migrate
from tests.acceptance.talking import (
    EAGER,
    TWO_ARMS,
    arms,
    decide,
    fresh_id,
    opened,
    problem,
    reward,
    rows,
    side_by_side,
)
from tests.running import (
    ADMIN_KEY,
    Answer,
    Api,
    Service,
    alive,
    children_of,
    descendants_of,
    free_port,
    running_service,
    until,
)

EXPLICIT = {**TWO_ARMS, "reward": {"missing": "explicit"}, "policy": EAGER}


@dataclass
class Load:
    """Clients that ask for decisions as fast as they are answered, each over a connection of its own."""

    service: Service
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # errors of connections that had been answered before
    refused: int = 0  # errors of new connections
    over: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int) -> None:
        """One client; a new connection each time that the service closed the last."""
        connection, answered = self._connect(), 0
        while not self.over.is_set():
            body = json.dumps({"experiment": "load", "unit": f"u{number}", "decision_id": fresh_id()})
            try:
                connection.request("POST", "/v1/recommendations", body, {"X-API-Key": ADMIN_KEY})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                if answered:
                    self.broken.append(repr(error))
                else:
                    self.refused += 1
                connection.close()
                connection, answered = self._connect(), 0
                time.sleep(0.02)
                continue
            answered += 1
            self.statuses[response.status] += 1
            if response.status == 200:
                self.acknowledged.add(answer["decision_id"])
            if response.will_close:
                connection.close()
                connection, answered = self._connect(), 0
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.service.url).netloc, timeout=20)

    def wait_for(self, more: int) -> None:
        """Until so many more decisions were acknowledged."""
        wanted = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= wanted, f"{more} more decisions")

    def nothing_missing(self) -> bool:
        """Whether every acknowledged decision is in the database."""
        recorded = {str(i) for (i,) in rows(self.service.database_url, "SELECT decision_id FROM decisions")}
        return self.acknowledged <= recorded

    def check_nothing_lost(self) -> None:
        """Every acknowledged decision is in the database, and the statistics are the fold of them."""
        assert self.acknowledged
        assert self.nothing_missing()
        verified = self.service.command("verify")
        assert verified.returncode == 0, verified.stdout


@contextmanager
def load_on(service: Service, api: Api, clients: int = 12) -> Iterator[Load]:
    """Traffic on a service while the block runs."""
    api.put("/v1/experiments/load", EXPLICIT).ok()
    load = Load(service)
    with ThreadPoolExecutor(clients) as threads:
        running = [threads.submit(load.client, number) for number in range(clients)]
        try:
            load.wait_for(50)
            yield load
        finally:
            load.over.set()
    for client in running:
        client.result()


def test_a_stopping_web_server_answers_all_requests_in_flight(own_service: Service, own_api: Api) -> None:
    """SIGTERM under load: whoever was being served is answered, and only new connections are refused."""
    with load_on(own_service, own_api) as load:
        started = time.monotonic()
        assert own_service.stop("web") == 0
        assert time.monotonic() - started < 8
        until(lambda: load.refused > 20, "new connections to be refused")
        before = len(load.acknowledged)
        own_service.start("web")
        until(lambda: len(load.acknowledged) > before + 50, "the service to serve again")
    assert load.broken == []
    assert load.statuses.keys() == {200}
    load.check_nothing_lost()


def test_requests_that_wait_for_the_database_are_answered_before_the_end(own_service: Service, own_api: Api) -> None:
    """A request that hangs in its commit when SIGTERM comes is answered when the commit is through."""
    own_api.put("/v1/experiments/slow", EXPLICIT).ok()
    with opened(own_service.database_url) as database, ThreadPoolExecutor(16) as threads:
        with database.transaction() as connection:
            connection.exec_driver_sql("LOCK TABLE decision_counts IN EXCLUSIVE MODE")
            waiting = [threads.submit(decide, own_api, "slow", f"u{i}") for i in range(16)]
            time.sleep(0.4)
            own_service.processes["web"].terminate()
            time.sleep(0.6)
            assert not any(request.done() for request in waiting)
        assert {request.result()["durability"] for request in waiting} == {"committed"}
    assert own_service.processes.pop("web").wait(10) == 0


def test_idle_connections_do_not_hold_up_the_end(own_service: Service, own_api: Api) -> None:
    """A frontend's open but idle connections are closed, not waited for until the grace period is over."""
    side_by_side(lambda _: own_api.get("/livez").ok(), 20)
    started = time.monotonic()
    assert own_service.stop("web") == 0
    assert time.monotonic() - started < 6


def test_a_killed_worker_is_replaced_and_loses_nothing_acknowledged(own_service: Service, own_api: Api) -> None:
    """SIGKILL of a worker under load: another takes its place, and every answer that was given stands."""
    with load_on(own_service, own_api) as load:
        master = own_service.processes["web"].pid
        workers = children_of(master)
        assert len(workers) == 2
        for _ in range(2):
            subprocess.run(["kill", "-9", str(children_of(master)[0])], check=True)
            load.wait_for(50)
        until(lambda: len(children_of(master)) == 2, "the workers to be replaced")
        load.wait_for(50)
    assert load.statuses.keys() == {200}
    load.check_nothing_lost()


def test_a_standby_learner_takes_over_from_a_killed_one(own_service: Service, own_api: Api) -> None:
    """SIGKILL of the active learner: the standby, which had waited, goes on learning."""
    own_api.put("/v1/experiments/two", EXPLICIT).ok()
    own_service.processes["first"] = own_service.processes.pop("learner")
    own_service.start("learner")
    time.sleep(2)  # the standby is up, and has found the lock taken
    lines = [json.loads(line) for line in own_service.log.read_text().splitlines() if line.startswith("{")]
    assert [line["role"] for line in lines if line["message"] == "active"].count("learner") == 1

    def learns(n: int) -> bool:
        newest = own_api.get("/v1/experiments/two/history?limit=1").ok()["allocations"][0]
        return bool(sum(arm["n"] for arm in newest["evidence"].values()) == n)

    reward(own_api, decide(own_api, "two")["decision_id"])
    until(lambda: learns(1), "the first learner to learn", 5)
    own_service.stop("first", signal.SIGKILL)
    reward(own_api, decide(own_api, "two")["decision_id"])
    until(lambda: learns(2), "the standby to learn", 8)
    assert own_service.stop("learner") == 0
    assert own_service.stop("monitor") == 0


def test_an_absent_database_is_told_and_outlived(tmp_path: Path) -> None:
    """PostgreSQL stopped: what needs it is refused within the budget, decisions and feedback go on, nothing is lost."""
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    url = postgres.start()
    with opened(url) as database:
        migrate(database, datetime.now(UTC))
    try:
        with running_service(url, tmp_path, CROUPIER_COMMIT_BUDGET_MS="1000") as service:
            api = service.api()
            with load_on(service, api, clients=4) as load:
                postgres.stop()
                check_absence(api)
                postgres.start()
                until(lambda: api.get("/readyz").ok()["checks"]["database"]["ok"], "the database to be found again", 10)
                load.wait_for(50)
            assert load.statuses.keys() == {200}
            assert load.broken == []
            until(load.nothing_missing, "all acknowledged decisions to be in the database", 10)
            load.check_nothing_lost()
            assert own_learning_goes_on(api)
            api.close()
    finally:
        postgres.stop()
        postgres.reset()


def check_absence(api: Api) -> None:
    """How a service answers whose database is away: decisions and feedback are spooled, everything else is refused."""
    wanted, unknown = {"experiment": "load", "unit": "u"}, fresh_id()
    recorded = [("/v1/recommendations", wanted), ("/v1/feedback", {"decision_id": unknown, "value": 1})]
    for path, body in recorded:
        assert timely(api, "POST", path, body).ok()["durability"] == "spooled"
    for method, path, refused in (
        ("POST", "/v1/recommendations", {**wanted, "experiment": "never-seen"}),
        ("PUT", "/v1/experiments/load", EXPLICIT),
        ("GET", "/v1/experiments", None),
        ("GET", "/v1/experiments/load/arms", None),
        ("GET", f"/v1/decisions/{unknown}", None),
        ("PUT", "/v1/items", {"items": []}),
    ):
        check_refusal(timely(api, method, path, refused))
    problem(api.post("/v1/recommendations", {"experiment": "load"}), 422)
    assert api.get("/livez").ok() == {"status": "alive"}
    ready = api.get("/readyz")
    assert ready.status == 200
    assert (ready.body["checks"]["database"]["ok"], ready.body["checks"]["allocations"]["ok"]) == (False, True)


def timely(api: Api, method: str, path: str, body: object) -> Answer:
    """An answer that comes within the budget and a little more."""
    started = time.monotonic()
    answer = api.call(method, path, body)
    assert time.monotonic() - started < 3, (method, path)
    return answer


def check_refusal(answer: Answer) -> None:
    """503, with whole seconds to wait."""
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1


def own_learning_goes_on(api: Api) -> bool:
    """Whether a reward still reaches an allocation."""
    before = api.get("/v1/experiments/load").ok()["allocation"]
    reward(api, decide(api, "load")["decision_id"])
    until(lambda: api.get("/v1/experiments/load").ok()["allocation"] > before, "the learner to learn again", 10)
    return True


@dataclass
class AllInOne:
    """`croupier up` without DATABASE_URL."""

    folder: Path
    service: Service

    def start(self) -> Api:
        """Starts it and waits until it serves."""
        self.service.start("up")
        api = self.service.api()
        until(lambda: self.process.poll() is not None or serves(api), "croupier up to serve", 60)
        assert self.process.poll() is None, self.service.log.read_text()
        return api

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        return self.service.processes["up"]

    def end(self, number: signal.Signals) -> None:
        """Stops it by a signal; afterwards neither roles nor PostgreSQL are left."""
        children = descendants_of(self.process.pid)
        assert len(children) >= 5, children  # learner, monitor, gunicorn and its two workers
        assert self.service.stop("up", number) == 0
        assert not [pid for pid in children if alive(pid)]
        assert not self.postgres().status().running

    def postgres(self) -> EmbeddedPostgres:
        """Its database server."""
        return EmbeddedPostgres(self.folder)


def serves(api: Api) -> bool:
    """Whether the service answers that it is ready."""
    try:
        return api.get("/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.fixture
def all_in_one(tmp_path: Path) -> Iterator[AllInOne]:
    """`croupier up` with a data directory that has a space in its name."""
    folder, port = tmp_path / "data of mine", free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CROUPIER_") and k != "DATABASE_URL"},
        "CROUPIER_PORT": str(port),
        "CROUPIER_DATA_DIR": str(folder),
        "CROUPIER_BOOTSTRAP_KEY": ADMIN_KEY,
    }
    service = Service(f"http://127.0.0.1:{port}", "", environment, {}, tmp_path / "up.log")
    yield AllInOne(folder, service)
    for process in service.processes.values():
        process.kill()
        process.wait()
    postgres = EmbeddedPostgres(folder)
    postgres.stop()
    postgres.reset()


def test_everything_runs_on_one_machine_and_ends_without_a_trace(all_in_one: AllInOne) -> None:
    """`croupier up`: Ctrl-C, SIGTERM and kill -9 leave no process behind, and the next start has all the data."""
    api = all_in_one.start()
    api.put("/v1/experiments/kept", TWO_ARMS).ok()
    made = [decide(api, "kept", f"u{i}") for i in range(5)]
    all_in_one.end(signal.SIGINT)

    api = all_in_one.start()
    assert sum(arm["decisions"] for arm in arms(api, "kept").values()) == 5
    made += [decide(api, "kept", f"u{i}") for i in range(5)]
    all_in_one.end(signal.SIGTERM)

    api = all_in_one.start()
    made += [decide(api, "kept", f"u{i}") for i in range(5)]
    children = descendants_of(all_in_one.process.pid)
    all_in_one.service.stop("up", signal.SIGKILL)
    until(lambda: not [pid for pid in children if alive(pid)], "the orphans to end", 20)

    api = all_in_one.start()
    assert sum(arm["decisions"] for arm in arms(api, "kept").values()) == 15
    for one in made:
        assert api.get(f"/v1/decisions/{one['decision_id']}").ok()["decision"]["arm"] == one["arm"]
    verified = all_in_one.service.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert ADMIN_KEY not in all_in_one.service.log.read_text()
    all_in_one.end(signal.SIGINT)


def test_a_dead_role_is_started_again(all_in_one: AllInOne) -> None:
    """SIGKILL of any role under the supervisor: a moment later another one does its work."""
    api = all_in_one.start()
    api.put("/v1/experiments/two", EXPLICIT).ok()
    roles, everyone = children_of(all_in_one.process.pid), descendants_of(all_in_one.process.pid)
    assert len(roles) == 3
    for pid in roles:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in everyone), "the roles, and workers without a master, to end")
    until(lambda: len(children_of(all_in_one.process.pid)) == 3, "the roles to be started again", 10)
    until(lambda: serves(api), "the web to serve again", 20)
    reward(api, decide(api, "two")["decision_id"])
    until(lambda: api.get("/v1/experiments/two").ok()["allocation"] > 1, "the learner to learn", 20)
    all_in_one.end(signal.SIGTERM)


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_taken_port_is_told_in_a_sentence(all_in_one: AllInOne, command: str) -> None:
    """Where another server listens, nothing is started and the message says what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", urlsplit(all_in_one.service.url).port or 0))
        other.listen()
        tried = all_in_one.service.command(command)
    assert tried.returncode == 1
    assert "CROUPIER_PORT" in tried.stderr
    assert "Traceback" not in tried.stderr
    assert not all_in_one.postgres().status().running


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CROUPIER_PROT", "1"), ("CROUPIER_PORT", "many"), ("CROUPIER_WORKERS", "0"), ("CROUPIER_LOG_LEVEL", "loud"),
     ("DATABASE_URL", "mysql://localhost/x")],
)  # fmt: skip
def test_a_wrong_setting_is_told_in_a_sentence(all_in_one: AllInOne, variable: str, value: str) -> None:
    """A misspelt or impossible setting ends the start with its name, not with a traceback."""
    all_in_one.service.environment[variable] = value
    tried = all_in_one.service.command("up")
    assert tried.returncode == 1
    assert variable in tried.stderr
    assert "Traceback" not in tried.stderr


@pytest.mark.parametrize("role", ["web", "learner", "monitor"])
def test_a_role_without_a_database_says_what_to_set(all_in_one: AllInOne, role: str) -> None:
    """The roles of a production set-up need DATABASE_URL, and say so."""
    tried = all_in_one.service.command(role)
    assert tried.returncode == 1
    assert "DATABASE_URL" in tried.stderr
    assert "Traceback" not in tried.stderr
