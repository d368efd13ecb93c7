"""What docs/operations.md says of backups: a dump taken under load is restored into a fresh database, and works."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.embedded.programs import find_programs
from tests.acceptance.talking import decide, reward, rows
from tests.faults.load import check_promises, load_on
from tests.running import Service, running_service, until

_PARTITIONS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid ORDER BY 1
"""


def program(name: str, *arguments: str | Path) -> None:
    """Runs one of PostgreSQL's, which must succeed and have nothing to say."""
    command = [str(find_programs() / name), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def of_libpq(url: str) -> str:
    """A database's URL as PostgreSQL's own programs read it."""
    return url.replace("+psycopg2", "")


def dump(url: str, file: Path) -> None:
    """As docs/operations.md says."""
    program("pg_dump", "--format=custom", f"--file={file}", of_libpq(url))


@contextmanager
def restored(url: str, file: Path) -> Iterator[str]:
    """A fresh database beside another, restored as docs/operations.md says; its URL."""
    name = f"{sa.make_url(url).database}_restored"
    program("psql", "--quiet", f"--command=CREATE DATABASE {name} TEMPLATE template0", of_libpq(url))
    fresh = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    options = ("--exit-on-error", "--single-transaction", "--no-owner")
    program("pg_restore", *options, f"--dbname={of_libpq(fresh)}", file)
    yield fresh
    program("psql", "--quiet", f"--command=DROP DATABASE {name} WITH (FORCE)", of_libpq(url))


@pytest.mark.timeout(300)  # two services one after the other, and machines that run tests are busy
def test_a_dump_taken_under_load_is_a_whole_service(new_database: Callable[[], str], tmp_path: Path) -> None:
    """No request fails meanwhile, all that was acknowledged before is in it, and the service goes on from there."""
    before, after, file = tmp_path / "before", tmp_path / "after", tmp_path / "croupier.dump"
    before.mkdir()
    after.mkdir()
    with running_service(new_database(), before) as service:
        with load_on(service, "home", clients=4) as load:
            load.wait_for(100)
            promised = {d.decision_id: d.answers[0]["arm"] for d in list(load.decisions) if d.answers}
            dump(service.database_url, file)
            load.wait_for(50)
        assert load.statuses.keys() == {200}
        check_promises(service, load)
    with restored(service.database_url, file) as url:
        recorded = dict(rows(url, "SELECT decision_id::text, arm FROM decisions"))
        assert promised.items() <= recorded.items()
        assert len(recorded) < len(load.decisions)
        assert rows(url, _PARTITIONS) == rows(service.database_url, _PARTITIONS)
        with running_service(url, after, roles=("web", "learner")) as service:
            is_verified(service)
            goes_on(service, *next(iter(promised.items())))
            is_verified(service)


def is_verified(service: Service) -> None:
    """`croupier verify` finds that all statistics equal the log."""
    ran = service.command("verify")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def goes_on(service: Service, decision_id: str, arm: str) -> None:
    """A decision of before is retried and given feedback, experiments are changed, and allocations are learned."""
    api, sums = service.api(), "SELECT sum(n), sum(sum) FROM arm_statistics WHERE metric = 'revenue'"
    ((unit,),) = rows(service.database_url, "SELECT unit FROM decisions WHERE decision_id = :id", id=decision_id)
    assert decide(api, "home", unit, decision_id=decision_id)["arm"] == arm
    ((n, total),) = rows(service.database_url, sums)
    event = {"decision_id": decision_id, "metric": "revenue", "value": 7, "event_id": "after"}
    statuses = [api.post("/v1/feedback", event).ok()["status"] for _ in range(2)]
    assert statuses == ["accepted", "duplicate"]
    assert rows(service.database_url, sums) == [(n, total + 7)]
    newest = newest_allocation(service)
    assert reward(api, decide(api, "home")["decision_id"]) == "accepted"
    until(lambda: newest_allocation(service) > newest, "the learner to go on")
    for action in ("pause", "resume"):  # each is a row of the audit log, whose ids go on where they were
        api.post(f"/v1/experiments/home/{action}").ok()
    api.close()


def newest_allocation(service: Service) -> int:
    """The number of the allocation in force."""
    ((number,),) = rows(service.database_url, "SELECT allocation FROM experiments")
    return int(number)
