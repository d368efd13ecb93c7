"""Makes the configuration as files declare it: in one transaction, all or nothing."""

from collections.abc import Mapping
from datetime import datetime

from app.configuration.faults import refusal
from app.configuration.plan import Plan, make_plan, secrets_of
from app.configuration.present import read_present
from app.configuration.reading import Wanted
from app.configuration.writing import Writer
from app.errors import Conflict, CroupierError, Fault, InvalidInput
from app.store.configuration import one_at_a_time
from app.store.database import Database

__all__ = ["apply"]


def apply(
    database: Database,
    wanted: Wanted,
    environment: Mapping[str, str],
    now: datetime,
    *,
    prune: bool = False,
    dry_run: bool = False,
    expected: str | None = None,
    actor: str,
) -> Plan:
    """Makes the configuration as it is wanted, and returns what that changed.

    What is read stays locked until it is written, so that no change of somebody else is lost in between.

    Args:
        database: whose configuration.
        wanted: what files declare.
        environment: where the secrets of channels are.
        now: when.
        prune: whether parts go that no file declares, in sections that are there.
        dry_run: does everything and takes it back: what the database would refuse is found, too.
        expected: the fingerprint of the plan that was agreed on; None: any.
        actor: who, for the audit log.

    Raises:
        InvalidInput: with each fault, and where it stands. Nothing is changed.
        Conflict: the plan is another by now. Nothing is changed.
    """
    secrets = secrets_of(wanted, environment)
    with database.transaction() as connection:
        one_at_a_time(connection)
        present = read_present(connection, wanted.experiments, lock=True)
        plan = make_plan(wanted, present, secrets, prune=prune)
        if expected is not None and expected != plan.fingerprint:
            raise Conflict(
                f"What would change is not plan {expected} but {plan.fingerprint}: files or configuration are others"
                " than they were. Look at --dry-run again"
            )
        savepoint = connection.begin_nested()
        _write(Writer(connection=connection, present=present, secrets=secrets, now=now, actor=actor), plan, wanted)
        if dry_run:
            savepoint.rollback()
    return plan


def _write(writer: Writer, plan: Plan, wanted: Wanted) -> None:
    """Makes all changes; what is refused is collected, without what depends on it."""
    faults: list[Fault] = []
    failed: set[str] = set()
    for change in plan.changes:
        if change.name.experiment in failed:
            continue
        declared = wanted.parts.get(change.name)
        try:
            writer.make(change, declared.value if declared else None)
        except CroupierError as error:
            if change.name.kind == "experiment":
                failed.add(change.name.key)
            found = error.faults if isinstance(error, InvalidInput) else (Fault("#", error.detail),)
            faults += [declared.told(fault) if declared else fault for fault in found]
    if faults:
        raise refusal(faults)
