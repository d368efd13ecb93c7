"""What operators do about avatars: make, change, see and delete them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from app.avatars.shape import AvatarRequest
from app.errors import Conflict, InvalidInput, NotFound
from app.store import audit, experiments
from app.store import avatars as store
from app.store.avatars import AvatarRow
from app.store.database import Connection, Database
from app.store.experiments import Experiment

__all__ = ["get", "listed", "looks", "put", "put_on", "remove", "remove_on"]

Row = dict[str, Any]

_MOST = 100


def put(database: Database, experiment: str, key: str, wanted: AvatarRequest, now: datetime, *, actor: str) -> Row:
    """Makes or changes an avatar; the same again changes nothing. A changed one is looked at at once, and anew.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: it names an arm that does not exist.
        Conflict: the experiment has too many.
    """
    with database.transaction() as connection:
        return put_on(connection, experiment, key, wanted, now, actor=actor)


def put_on(
    connection: Connection, experiment: str, key: str, wanted: AvatarRequest, now: datetime, *, actor: str
) -> Row:
    """The same, within a transaction of the caller's; where it raises, nothing is written."""
    _refuse_unknown_arms(_experiment(connection, experiment, lock=True), wanted)
    before = store.find(connection, experiment, key, lock=True)
    if before is not None and msgspec.convert(before.definition, AvatarRequest) == wanted:
        return _shown(connection, before)
    if before is None and len(store.listed(connection, experiment)) >= _MOST:
        raise Conflict(f"Experiment {experiment!r} has {_MOST} avatars, which is the most; delete one")
    made = store.put(connection, experiment, key, msgspec.to_builtins(wanted), now)
    audit.record(
        connection,
        actor=actor,
        action="put",
        subject=f"avatar:{experiment}/{key}",
        before=None if before is None else dict(before.definition),
        after=dict(made.definition),
    )
    return _shown(connection, made)


def get(database: Database, experiment: str, key: str) -> Row:
    """One avatar, with what is wrong with its last lists.

    Raises:
        NotFound: there is none.
    """
    with database.transaction() as connection:
        return _shown(connection, _existing(connection, experiment, key))


def listed(database: Database, experiment: str) -> list[Row]:
    """An experiment's avatars.

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction(snapshot=True) as connection:
        _experiment(connection, experiment)
        faults = _faults(connection, experiment)
        return [_row(avatar, faults) for avatar in store.listed(connection, experiment)]


def looks(
    database: Database, experiment: str, key: str, *, arm: str | None, before: int | None, limit: int
) -> list[Row]:
    """What an avatar was answered, the newest looks first, a page at a time.

    Raises:
        NotFound: there is no such avatar.
    """
    with database.transaction() as connection:
        _existing(connection, experiment, key)
        return store.looks(connection, experiment, key, arm=arm, before=before, limit=limit)


def remove(database: Database, experiment: str, key: str, *, actor: str) -> None:
    """Deletes an avatar with its history.

    Raises:
        NotFound: there is none.
    """
    with database.transaction() as connection:
        remove_on(connection, experiment, key, actor=actor)


def remove_on(connection: Connection, experiment: str, key: str, *, actor: str) -> None:
    """The same, within a transaction of the caller's."""
    before = _existing(connection, experiment, key)
    store.delete(connection, experiment, key)
    subject = f"avatar:{experiment}/{key}"
    audit.record(connection, actor=actor, action="remove", subject=subject, before=dict(before.definition))


def _experiment(connection: Connection, key: str, *, lock: bool = False) -> Experiment:
    found = experiments.find(connection, key, lock=lock)
    if found is None:
        raise NotFound(f"There is no experiment {key!r}")
    return found


def _existing(connection: Connection, experiment: str, key: str) -> AvatarRow:
    found = store.find(connection, experiment, key)
    if found is None:
        raise NotFound(f"Experiment {experiment!r} has no avatar {key!r}")
    return found


def _refuse_unknown_arms(experiment: Experiment, wanted: AvatarRequest) -> None:
    unknown = sorted({*(wanted.arms or ())} - {*experiment.specification.arm_keys})
    if unknown:
        raise InvalidInput.at("#/arms", f"{unknown[0]!r} is no arm of {experiment.key!r}")


def _shown(connection: Connection, avatar: AvatarRow) -> Row:
    return _row(avatar, _faults(connection, avatar.experiment))


def _faults(connection: Connection, experiment: str) -> dict[str, dict[str, str | None]]:
    """What was wrong with each avatar's last list from each arm; null: nothing."""
    found: dict[str, dict[str, str | None]] = {}
    for look in store.last_looks(connection, experiment):
        found.setdefault(look.avatar, {})[look.arm] = look.fault
    return found


def _row(avatar: AvatarRow, faults: Mapping[str, Mapping[str, str | None]]) -> Row:
    return {
        "avatar": avatar.key,
        **avatar.definition,
        "since": avatar.since,
        "looked_at": avatar.looked_at,
        "faults": faults.get(avatar.key, {}),
    }
