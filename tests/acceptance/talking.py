"""What acceptance tests share: problems, ids of any time, parallel clients, and a look into the database."""

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from app.auth import ALL_SCOPES, Scope, new_key
from app.keys import Wanted, add_key
from app.store.database import Database
from tests.running import Answer, Api, Service

T = TypeVar("T")

MEMBERS = {"type", "title", "status", "detail", "instance"}
EAGER = {"kind": "thompson_sampling", "warm_up": 0}
TWO_ARMS: dict[str, Any] = {"arms": [{"key": "a"}, {"key": "b"}]}


def problem(answer: Answer, status: int, pointer: str | None = None) -> dict[str, Any]:
    """The body of an answer that must be a problem of this status; with this fault, if one is given."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = answer.body
    assert found.keys() - {"errors"} == MEMBERS
    assert found["status"] == status
    assert found["type"].startswith("urn:croupier:problem:")
    assert all(isinstance(found[name], str) and found[name] for name in MEMBERS - {"status"})
    assert (status in {400, 422}) == ("errors" in found), found
    for fault in found.get("errors", ()):
        assert fault.keys() == {"pointer", "detail"}
        assert fault["detail"]
    if pointer is not None:
        assert pointer in [fault["pointer"] for fault in found["errors"]], found["errors"]
    return found


def id_at(moment: datetime) -> str:
    """A UUIDv7 of a moment."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))


def fresh_id() -> str:
    """A UUIDv7 of now."""
    return id_at(datetime.now(UTC))


def decide(api: Api, experiment: str, unit: str = "user", **more: Any) -> dict[str, Any]:
    """One decision."""
    found: dict[str, Any] = api.post("/v1/recommendations", {"experiment": experiment, "unit": unit, **more}).ok()
    return found


def reward(api: Api, decision_id: str, value: float = 1, **more: Any) -> str:
    """Sends one event; returns its status."""
    return str(api.post("/v1/feedback", {"decision_id": decision_id, "value": value, **more}).ok()["status"])


def arms(api: Api, experiment: str, query: str = "") -> dict[str, dict[str, Any]]:
    """The arm statistics, by arm."""
    found = api.get(f"/v1/experiments/{experiment}/arms{query}").ok()["arms"]
    return {arm["arm"]: arm for arm in found}


def side_by_side(work: Callable[[int], T], count: int) -> list[T]:
    """What `count` threads return that all start their work at the same moment."""
    barrier = threading.Barrier(count)

    def start(index: int) -> T:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(start, range(count)))


def rows(database_url: str, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """What a query finds in the service's database."""
    with opened(database_url) as database, database.transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query), parameters)]


@contextmanager
def opened(database_url: str) -> Iterator[Database]:
    """The service's database."""
    database = Database(database_url, name="test")
    try:
        yield database
    finally:
        database.close()


_WRITTEN = """
SELECT (SELECT count(*) FROM decisions), (SELECT coalesce(sum(decisions), 0) FROM decision_counts),
       (SELECT count(*) FROM feedback), (SELECT count(*) FROM outcomes), (SELECT count(*) FROM unmatched_feedback),
       (SELECT coalesce(sum(n), 0) FROM arm_statistics), (SELECT coalesce(sum(rewards), 0) FROM item_rewards),
       (SELECT count(*) FROM experiments), (SELECT coalesce(sum(version), 0) FROM experiments),
       (SELECT count(*) FROM arms), (SELECT count(*) FROM audit_log), (SELECT count(*) FROM items),
       (SELECT version FROM catalogue), (SELECT count(*) FROM api_keys)
"""


def written(database: Database) -> tuple[Any, ...]:
    """How much there is of everything that requests write."""
    with database.transaction() as connection:
        return tuple(connection.execute(sa.text(_WRITTEN)).one())


def key_of(service: Service, *scopes: Scope, **more: Any) -> str:
    """A new API key with these scopes, or with every one; `more`: as in `Wanted`."""
    key = new_key()
    with opened(service.database_url) as database, database.transaction() as connection:
        add_key(connection, key, Wanted(name="test", scopes=scopes or ALL_SCOPES, **more), actor="test")
    return key
