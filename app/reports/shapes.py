"""The shapes of `GET /v1/experiments/{key}/arms`."""

from datetime import datetime

from msgspec import Struct

__all__ = ["ArmReport", "ArmShares", "ArmsReport", "Interval", "Lift", "Outcomes", "SampleRatioReport"]

Interval = tuple[float, float]


class Outcomes(Struct, frozen=True, kw_only=True):
    """In which state the outcomes of an arm's exposures are."""

    pending: int  # inside the attribution window, nothing came yet
    defaulted: int  # the window has passed, nothing came: counts as the default
    observed: int  # feedback came in time
    corrected: int  # feedback came after the window: it replaces the default
    rejected: int  # events, of all metrics, that could not be used and are in quarantine


class Lift(Struct, frozen=True, kw_only=True):
    """How much more an arm earns than the control arm, while both could be chosen."""

    mean: float | None
    honest_interval: Interval | None
    robust_interval: Interval | None


class ArmReport(Struct, frozen=True, kw_only=True):
    """One arm's statistics. A figure without data is null, never 0."""

    arm: str
    state: str
    propensity: float
    decisions: int
    exposures: int
    fallbacks: int
    mature: int
    rewards: float
    mean: float | None
    interval: Interval | None
    probability_best: float | None
    expected_loss: float | None
    share: float | None
    outcomes: Outcomes
    honest_interval: Interval | None = None
    robust_mean: float | None = None
    robust_interval: Interval | None = None
    lift: Lift | None = None


class ArmShares(Struct, frozen=True, kw_only=True):
    """How often the policy chose an arm, and how often it should have."""

    observed: int
    expected: float
    deviation: float | None


class SampleRatioReport(Struct, frozen=True, kw_only=True):
    """Whether arms were chosen as often as their probabilities say, in the present epoch."""

    ok: bool | None
    statistic: float | None
    arms: dict[str, ArmShares]


class ArmsReport(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/experiments/{key}/arms`."""

    experiment: str
    allocation: int
    data_as_of: datetime
    policy: str
    state: str
    metric: str
    arms: list[ArmReport]
    value_remaining: float | None
    sample_ratio: SampleRatioReport | None
    unavailable: dict[str, str]
