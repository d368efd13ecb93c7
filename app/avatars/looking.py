"""Looks at avatars that are due: asks their arms as serving would, judges the answers and stores them."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec

from app.avatars.judging import judged
from app.avatars.patience import Patience
from app.avatars.shape import AvatarRequest
from app.errors import Unavailable
from app.preview import MOST_ARMS, ArmPreview, ask
from app.serving.allocations import Allocations, Served
from app.store import avatars as store
from app.store.avatars import AvatarRow
from app.store.database import Database

__all__ = ["Looking"]

log = logging.getLogger(__name__)

# Longer than the longest deadline of a model server. A function has no deadline of its own.
_PATIENCE_S = 15.0


class Looking:
    """Looks at avatars.

    Args:
        database: where they are.
        allocations: this process's; they are only read.
        patience_s: how long to wait for one arm, seconds.
    """

    def __init__(self, database: Database, allocations: Allocations, *, patience_s: float = _PATIENCE_S) -> None:
        self._database = database
        self._allocations = allocations
        self._patience = Patience[ArmPreview](patience_s)

    def look_at_due(self, now: datetime, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """Looks at every avatar that is due; returns how many there were. What is wrong with one stops no other.

        The catalogue and the experiments are loaded only while an avatar is due.

        Raises:
            Unavailable: the database is away.
        """
        count = 0
        while not stopping() and (avatar := self._claim(now)):
            if count == 0:
                self._allocations.refresh()
            try:
                self._look(avatar)
            except Unavailable:
                raise
            except Exception:  # the next look may succeed; the rule for absent looks tells if none does
                log.exception("cannot look at an avatar", extra={"experiment": avatar.experiment, "avatar": avatar.key})
            count += 1
        return count

    def _claim(self, now: datetime) -> AvatarRow | None:
        with self._database.transaction() as connection:
            return store.claim(connection, now)

    def _look(self, avatar: AvatarRow) -> None:
        wanted = msgspec.convert(avatar.definition, AvatarRequest)
        served = self._allocations.find(avatar.experiment)
        answers = [self._ask(served, arm, wanted) for arm in _arms(served, wanted)]
        with self._database.transaction() as connection:
            before = store.before(connection, avatar, [answer.arm for answer in answers])
            store.save(connection, avatar, [judged(wanted.expect, a, before.get(a.arm, store.NEVER)) for a in answers])

    def _ask(self, served: Served, arm: int, wanted: AvatarRequest) -> ArmPreview:
        """One arm's answer. Arms are asked one after the other: together they would slow each other down."""
        key, began = served.arms[arm].key, time.perf_counter()
        try:
            return self._patience.call((served.key, key), partial(ask, served, arm, wanted))
        except Exception as error:  # noqa: BLE001 - whatever an arm does is its failure
            failure = str(error) if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        return ArmPreview(
            arm=key,
            probability=served.probabilities[arm],
            items=(),
            payload=None,
            failure=failure,
            latency_ms=(time.perf_counter() - began) * 1000,
        )


def _arms(served: Served, wanted: AvatarRequest) -> list[int]:
    """Indices of the arms to ask: those that may still be chosen, in the order of the specification."""
    active = [index for index, arm in enumerate(served.arms) if arm.state == "active"]
    if wanted.arms is not None:
        active = [index for index in active if served.arms[index].key in wanted.arms]
    return active[:MOST_ARMS]
