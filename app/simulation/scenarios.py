"""The scenarios, as data: what holds before and after the fault, when it starts, and what should tell of it."""

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = ["SCENARIOS", "Audience", "Conditions", "Scenario", "Signal"]

WAVES = 4  # in the whole duration

Signal = Literal[
    "reward_rate",  # of one arm: rewarded decisions ÷ decisions
    "context_drift",  # distribution of a feature of the context
    "fallback_share",  # of one arm
    "confirmed_share",  # of one arm: confirmed ÷ decisions; the sample ratio of exposures
    "repeated_feedback",  # events per decision, metric and item
    "feedback_delay",  # from when an event occurred to when the service received it
    "unit_rate",  # decisions of the busiest unit
    "traffic",  # decisions a second
]


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Distributions of the context's features; age is normal, kept between 18 and 90."""

    device: Mapping[str, float]
    country: Mapping[str, float]
    age_mean: float
    age_deviation: float


_USUAL = Audience(
    device={"mobile": 0.6, "desktop": 0.3, "tablet": 0.1},
    country={"DE": 0.4, "FR": 0.3, "US": 0.2, "JP": 0.1},
    age_mean=38.0,
    age_deviation=12.0,
)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the world at one time; the defaults are a quiet one."""

    audience: Audience = _USUAL
    appeal: Mapping[str, float] = {}  # arm → factor of the attraction of what it shows; others: 1
    model_down: bool = False  # the model server answers 500
    exposures_lost: Mapping[str, float] = {}  # arm → share of confirmations that are never sent
    repeated: float = 0.0  # share of events that are sent again under another event_id
    lag_windows: float = 0.0  # events reach the service so many attribution windows late
    bots: float = 0.0  # share of the traffic that a few bots make, which click everything
    swing: float = 0.0  # amplitude of the traffic's wave, as a share of its mean
    reward_swing: float = 0.0  # the same of what all items attract


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, or none."""

    name: str
    fault: str  # in words
    signal: Signal | None  # what should move; None: nothing
    alert: str | None = None  # the default rule that should fire; None: none should
    within_min: float | None = None  # how soon after the fault, in minutes, with an attribution window of ten minutes
    accompanied: frozenset[str] = frozenset()  # rules that may fire too, as the fault is theirs as well
    after: Conditions = Conditions()
    before: Conditions = Conditions()
    starts: float = 0.5  # share of the duration after which `after` holds
    arm: str | None = None  # the one that is hit
    confirmed: bool = False  # exposures count once they are confirmed
    model: bool = False  # there is an arm behind a model server too

    def faulty(self, progress: float) -> bool:
        """Whether the fault is there after this share of the duration."""
        return self.signal is not None and progress >= self.starts

    def at(self, progress: float) -> Conditions:
        """What holds after this share of the duration."""
        return self.after if self.faulty(progress) else self.before

    def wave(self, progress: float) -> float:
        """The wave of all that swings, from −1 to 1, as it stands after this share of the duration."""
        return math.sin(2 * math.pi * WAVES * (progress - self.starts))


_ELSEWHERE = msgspec.structs.replace(_USUAL, device={"mobile": 0.15, "desktop": 0.75, "tablet": 0.1}, age_mean=53.0)

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="quiet", fault="nothing", signal=None, confirmed=True, model=True),
        Scenario(
            name="reward_drop",
            fault="what the arm `similar` shows attracts a twentieth as much",
            signal="reward_rate",
            alert="reward-change",
            within_min=60,
            accompanied=frozenset({"feature-drift"}),  # rewards of that arm
            arm="similar",
            after=Conditions(appeal={"similar": 0.05}),
        ),
        Scenario(
            name="feature_drift",
            fault="users are older and come from desktops; what they like stays",
            signal="context_drift",
            alert="drift",
            within_min=180,
            accompanied=frozenset({"feature-drift"}),
            after=Conditions(audience=_ELSEWHERE),
        ),
        Scenario(
            name="broken_recommender",
            fault="the model server behind the arm `model` answers 500",
            signal="fallback_share",
            alert="availability-page-fast",
            within_min=5,
            accompanied=frozenset({"availability-page-slow", "availability-ticket", "fallbacks"}),
            arm="model",
            model=True,
            after=Conditions(model_down=True),
        ),
        Scenario(
            name="lost_exposures",
            fault="70 % of the confirmed exposures of the arm `similar` never arrive",
            signal="confirmed_share",
            alert="sample-ratio",
            within_min=120,
            arm="similar",
            confirmed=True,
            after=Conditions(exposures_lost={"similar": 0.7}),
        ),
        Scenario(
            name="duplicated_feedback",
            fault="half of the events are sent again under another event_id",
            signal="repeated_feedback",
            alert="repeated-feedback",
            within_min=25,
            after=Conditions(repeated=0.5),
        ),
        Scenario(
            name="delayed_feedback",
            fault="events reach the service one and a half attribution windows late",
            signal="feedback_delay",
            alert="overdue-feedback",
            within_min=45,
            # For one and a half windows none comes, so rewards are missing when they become final.
            accompanied=frozenset({"feature-drift", "no-feedback"}),
            after=Conditions(lag_windows=1.5),
        ),
        Scenario(
            name="bots",
            fault="five bots make 30 % of the traffic and click everything",
            signal="unit_rate",
            alert="busy-units",
            within_min=20,
            accompanied=frozenset({"feature-drift"}),  # they click: rewards rise
            after=Conditions(bots=0.3),
        ),
        Scenario(
            name="seasonality",
            fault="traffic swings by 90 % around its mean, in waves of a quarter of the duration",
            signal="traffic",
            after=Conditions(swing=0.9),
        ),
    )
}
