"""The decisions that events are about, as far as events need them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from app.store.database import Cursor

__all__ = ["CONFIRMATIONS", "LOCK", "RESOLVE", "Target", "lock_and_confirm", "resolve"]


class Target(Struct, frozen=True, kw_only=True):
    """A decision, and whether and when it was seen."""

    decision_id: UUID
    experiment: str
    epoch: int
    allocation: int
    arm: str
    bucket: datetime  # of the exposure; of the decision, until the exposure is confirmed
    decided_at: datetime
    learnable: bool
    chosen: bool = True  # by the policy: also where another arm answered, and nothing is learned
    awaits_confirmation: bool = False
    repeated: bool = False  # of a sticky unit that had been given its arm before
    erased: bool = False  # its unit was, and nothing more is kept about it
    confirmed_at: datetime | None = None  # as the frontend says

    @property
    def exposed_at(self) -> datetime | None:
        """When the unit was shown it: nothing is seen before it is decided. None: not confirmed yet."""
        if not self.awaits_confirmation:
            return self.decided_at
        return None if self.confirmed_at is None else max(self.confirmed_at, self.decided_at)


# The plan of a join with a JSON parameter would open every partition, so the ids stand in the statements themselves:
# they are pruned when it is planned. tests/app/store/test_pruning.py looks at EXPLAIN.
RESOLVE = """
SELECT decision_id::text, experiment, epoch, allocation, arm, bucket, decided_at, learnable,
       learnable OR propensity < 1, awaits_confirmation IS TRUE, repeated IS TRUE, erased IS TRUE
FROM decisions WHERE decision_id = ANY('{{{ids}}}'::uuid[])
"""
LOCK = "SELECT 1 FROM decisions WHERE decision_id = ANY('{{{ids}}}'::uuid[]) ORDER BY decision_id FOR {strength}"
CONFIRMATIONS = """
SELECT decision_id::text, occurred_at, bucket FROM exposures WHERE decision_id = ANY('{{{ids}}}'::uuid[])
"""


def resolve(cursor: Cursor, ids: Sequence[UUID]) -> dict[UUID, Target]:
    """The decisions with these ids, by id; unknown ids are left out. Confirmations are not looked for."""
    cursor.execute(RESOLVE.format(ids=",".join(map(str, ids))))
    targets = (
        Target(
            decision_id=UUID(decision_id),
            experiment=experiment,
            epoch=epoch,
            allocation=allocation,
            arm=arm,
            bucket=bucket,
            decided_at=decided_at,
            learnable=learnable,
            chosen=chosen,
            awaits_confirmation=awaits_confirmation,
            repeated=repeated,
            erased=erased,
        )
        for (
            decision_id,
            experiment,
            epoch,
            allocation,
            arm,
            bucket,
            decided_at,
            learnable,
            chosen,
            awaits_confirmation,
            repeated,
            erased,
        ) in cursor.fetchall()
    )
    return {target.decision_id: target for target in targets}


def lock_and_confirm(
    cursor: Cursor, targets: Collection[Target], strength: Literal["SHARE", "UPDATE"]
) -> Mapping[UUID, Target]:
    """Locks decisions until the transaction ends, and adds what is known of their exposures by then.

    Feedback (SHARE) and confirmation (UPDATE) of one decision so wait for each other: whichever comes second sees what
    the first has written. Two statements, since only a new one sees what was committed while it waited for the locks.
    """
    by_id = {target.decision_id: target for target in targets}
    ids = ",".join(map(str, sorted(by_id)))
    cursor.execute(LOCK.format(ids=ids, strength=strength))
    cursor.execute(CONFIRMATIONS.format(ids=ids))
    found = {UUID(decision_id): (occurred_at, bucket) for decision_id, occurred_at, bucket in cursor.fetchall()}
    return by_id | {
        decision_id: msgspec.structs.replace(by_id[decision_id], confirmed_at=occurred_at, bucket=bucket)
        for decision_id, (occurred_at, bucket) in found.items()
    }
