"""Workers, servers and learners killed, stopped and recycled under load."""

import http.client
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.talking import rows
from tests.faults.load import Load, check_promises, has_database, load_on
from tests.faults.site import LONG, Site, kill, report
from tests.running import Service, alive, children_of, running_service, until

log = logging.getLogger(__name__)


def test_a_killed_worker_is_replaced_and_loses_nothing(site: Site, key: str) -> None:
    """SIGKILL of one web worker after the other: another takes its place, and every answer stands."""
    with site.load(key) as load:
        for _ in range(20 if LONG else 3):
            (victim, *_others) = site.workers()
            kill(victim)
            until(lambda gone=victim: not alive(gone), "the worker to be gone")  # type: ignore[misc]
            load.wait_for(50)
    assert load.statuses.keys() == {200}
    check_promises(site.service, load)


def test_a_killed_web_server_comes_back_with_everything(site: Site, key: str) -> None:
    """SIGKILL of gunicorn with all of its workers: what was answered before is kept, and afterwards all goes on."""
    with site.load(key) as load:
        for _ in range(5 if LONG else 1):
            site.kill_web()
            site.service.start("web")
            load.wait_for(100)
    assert load.statuses.keys() == {200}
    check_promises(site.service, load)


def newest_allocation(service: Service, key: str) -> int:
    """The number of the allocation in force."""
    ((number,),) = rows(service.database_url, "SELECT allocation FROM experiments WHERE key = :key", key=key)
    return int(number)


def until_learned(service: Service, key: str) -> None:
    """Until there is another allocation."""
    before = newest_allocation(service, key)
    until(lambda: newest_allocation(service, key) > before, "a new allocation", 10)


def test_a_standby_learner_takes_over_from_a_killed_one(site: Site, key: str) -> None:
    """SIGKILL of the active one of two learners: the other one learns on, and numbers follow one another."""
    service = site.service
    with site.load(key) as load:
        for _ in range(4 if LONG else 1):
            first = service.processes.pop("learner")
            service.start("learner")
            until_learned(service, key)
            first.send_signal(signal.SIGKILL)
            first.wait()
            until_learned(service, key)
    query = "SELECT number FROM allocations WHERE experiment = :key ORDER BY number"
    numbers = [number for (number,) in rows(service.database_url, query, key=key)]
    assert numbers == list(range(1, len(numbers) + 1))
    check_promises(service, load)


def no_request_failed(load: Load) -> bool:
    """Whether every request that a connection was had for was answered, with success."""
    assert load.broken == []
    assert load.statuses.keys() == {200}
    return all(decision.answers and decision.kept == decision.sent.keys() for decision in load.decisions)


def test_a_stopping_server_fails_no_request(site: Site, key: str) -> None:
    """SIGTERM under load: what is in flight is answered, and whose connection is refused goes to the other service.

    Between a worker's last look for new connections and its end lie microseconds: the system resets what arrives in
    them, before any of it was read. That is as good as refused, and rare: one in many ends.
    """
    ends = 12 if LONG else 2
    with load_on(site.service, key, also=[site.other.url]) as load:
        for number in range(ends):
            victim = (site.service, site.other)[number % 2]
            refused, started = load.refused, time.monotonic()
            assert victim.stop("web") == 0
            assert time.monotonic() - started < 8
            until(lambda n=refused: load.refused > n, "the clients to go to the other service")  # type: ignore[misc]
            victim.start("web")
            until(lambda service=victim: has_database(service), "the service to be back")  # type: ignore[misc]
            load.wait_for(100)
    log.info("stopped %d times: %d connections reset", ends, load.reset)
    assert load.reset <= 2
    assert no_request_failed(load)
    check_promises(site.service, load)
    check_promises(site.other, load)


def test_a_stopping_server_loses_no_queued_decision(site: Site, key: str) -> None:
    """`ack: queued` and SIGTERM under load: decisions that were answered before their commit are committed."""
    with load_on(site.service, key, also=[site.other.url], ack="queued") as load:
        assert site.service.stop("web") == 0
        site.service.start("web")
        load.wait_for(100)
    assert no_request_failed(load)
    assert {answer["durability"] for d in load.decisions for answer in d.answers} == {"queued"}
    check_promises(site.service, load)


def idle_connections(service: Service, count: int) -> list[http.client.HTTPConnection]:
    """Connections that were used once and are kept open, as frontends do."""
    made = [http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=5) for _ in range(count)]
    for connection in made:
        connection.request("GET", "/livez")
        assert connection.getresponse().read()
    return made


def test_recycled_workers_fail_no_request(new_database: Callable[[], str], tmp_path: Path) -> None:
    """CROUPIER_MAX_REQUESTS: workers are replaced again and again under load, and nobody notices."""
    with running_service(new_database(), tmp_path, CROUPIER_MAX_REQUESTS="300") as service:
        master, seen = service.processes["web"].pid, set[int]()

        def recycled(times: int) -> bool:
            seen.update(children_of(master))
            return len(seen) >= 2 + times

        with load_on(service, "recycled") as load:
            start = time.monotonic()
            idle = idle_connections(service, 20)
            until(lambda: recycled(30 if LONG else 4), "workers to be replaced", 90)
            end = time.monotonic()
        for connection in idle:
            connection.close()
        whole = load.between(start, end)
        report("recycled", whole)
        assert load.reset == 0  # the master listens all the time
        assert no_request_failed(load)
        assert load.refused == 0
        assert whole.longest < 5  # both workers may be stopping at the same time
        check_promises(service, load)


def test_two_migrations_at_once_make_one_schema(site: Site) -> None:
    """Two `croupier migrate` that start together on an empty database both succeed."""
    name = "migrated_by_two"
    admin = site.postgres.url("postgres")
    psql = [str(site.postgres.binary("psql")), "-X", "-q", "-c", f"CREATE DATABASE {name}"]
    subprocess.run([*psql, admin.replace("+psycopg2", "")], check=True, timeout=30)
    environment = {**site.service.environment, "DATABASE_URL": site.postgres.url(name)}
    command = [sys.executable, "-m", "app.cli", "migrate"]
    both = [
        subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    ((tables,),) = rows(site.postgres.url(name), "SELECT count(*) FROM pg_class WHERE relname = 'decisions'")
    assert tables == 1
