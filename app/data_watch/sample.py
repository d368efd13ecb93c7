"""What is read of the log for one closed window and its reference: once, for drift and for the quality of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from app.data_watch.features import Scalar, flat, frequent
from app.data_watch.windows import Window
from app.learning import last_mature_bucket
from app.store import samples
from app.store.experiments import Experiment
from app.store.samples import Sampling

__all__ = ["Row", "Sample", "read_sample"]

_MOST_FEATURES: Final = 50
_MOST_ARMS: Final = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One decision: when, who, which arm; of contexts or of rewards the other fields."""

    piece: int  # number of windows' widths after the current one's start; negative in the reference
    unit: str
    arm: str
    context: dict[str, Scalar]
    score: float | None = None  # mean of the list that the arm's present version gave
    outcome: float | None = None  # None: no feedback came


Pair = tuple[Sequence[Row], Sequence[Row]]  # of the reference and of the current window


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Rows of both windows, in the order of time.

    Attributes:
        experiment: whose decisions they are.
        window: the closed one.
        reward_window: the one whose exposures had become final by its end: as wide, and earlier.
        plans: how much was read of the reference and of the current window.
        contexts: decisions with their contexts and scores.
        exposures: those of `reward_window`, with their outcomes.
    """

    experiment: Experiment
    window: Window
    reward_window: Window
    plans: tuple[Sampling, Sampling]
    contexts: Pair
    exposures: Pair

    @property
    def arms(self) -> tuple[str, ...]:
        """Keys of the active arms, of the first 50."""
        active = [arm.key for arm in self.experiment.specification.arms if arm.state == "active"]
        return tuple(active[:_MOST_ARMS])

    @cached_property
    def names(self) -> list[str]:
        """The context's features: the 50 that most rows have."""
        return frequent((row.context for rows in self.contexts for row in rows), most=_MOST_FEATURES)

    def reward_of(self, row: Row) -> float | None:
        """The reward of an exposure; None when it has none without feedback."""
        reward = self.experiment.specification.reward
        return reward.default if row.outcome is None and reward.missing == "default" else row.outcome


def read_sample(connection: sa.Connection, experiment: Experiment, window: Window) -> Sample:
    """Reads what a pass over a window needs."""
    now = window.end
    reward_window = window.earlier(now - last_mature_bucket(experiment.specification, now))
    plans = samples.plan(connection, experiment.key, window.reference, window.current)
    of_rewards = samples.plan(connection, experiment.key, reward_window.reference, reward_window.current)
    metric = experiment.specification.reward.metric
    contexts = [samples.contexts(connection, experiment.key, plan) for plan in plans]
    exposures = [samples.rewards(connection, experiment.key, plan, metric=metric) for plan in of_rewards]
    return Sample(
        experiment=experiment,
        window=window,
        reward_window=reward_window,
        plans=plans,
        contexts=([_decision(window, row) for row in contexts[0]], [_decision(window, row) for row in contexts[1]]),
        exposures=(
            [_exposure(reward_window, row) for row in exposures[0]],
            [_exposure(reward_window, row) for row in exposures[1]],
        ),
    )


def _decision(window: Window, row: sa.RowMapping) -> Row:
    score = row["score"] if row["is_own"] else None
    context = flat(msgspec.json.decode(row["context"]))
    return Row(piece=_piece(window, row), unit=row["unit"], arm=row["arm"], context=context, score=score)


def _exposure(window: Window, row: sa.RowMapping) -> Row:
    return Row(piece=_piece(window, row), unit=row["unit"], arm=row["arm"], context={}, outcome=row["reward"])


def _piece(window: Window, row: Any) -> int:  # noqa: ANN401 - a row
    return int((row["decided_at"] - window.start) // timedelta(seconds=window.widths.window_s))
