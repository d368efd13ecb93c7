"""Workers, servers and learners killed, stopped and recycled under load."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.talking import rows
from tests.faults.load import Load, check_promises, load_on
from tests.faults.site import LONG, Site, alive, children_of, kill
from tests.running import Service, running_service, until


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
    """SIGTERM under load: what is in flight is answered, and whose connection is refused goes to the other service."""
    with load_on(site.service, key, also=[site.other.url]) as load:
        for _ in range(6 if LONG else 1):
            started = time.monotonic()
            assert site.service.stop("web") == 0
            assert time.monotonic() - started < 8
            load.wait_for(100)
            assert load.refused
            site.service.start("web")
            time.sleep(2)
    assert no_request_failed(load)
    check_promises(site.service, load)
    check_promises(site.other, load)


def test_recycled_workers_fail_no_request(new_database: Callable[[], str], tmp_path: Path) -> None:
    """CROUPIER_MAX_REQUESTS: workers are replaced again and again under load, and nobody notices."""
    with running_service(new_database(), tmp_path, CROUPIER_MAX_REQUESTS="300") as service:
        master, seen = service.processes["web"].pid, set[int]()

        def recycled(times: int) -> bool:
            seen.update(children_of(master))
            return len(seen) >= 2 + times

        with load_on(service, "recycled") as load:
            start = time.monotonic()
            until(lambda: recycled(30 if LONG else 4), "workers to be replaced", 90)
            longest = load.between(start, time.monotonic()).longest
        assert no_request_failed(load)
        assert load.refused == 0
        assert longest < 5
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
