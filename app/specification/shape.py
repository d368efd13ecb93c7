"""The shape of an experiment's specification, and its defaults. Decoding checks it, and each value's limits."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from app.recommenders import AnyRecommender, Payload
from app.specification.memory import AnyMemory, Everything
from bandits.policy import AnyPolicy
from bandits.posteriors import REWARD_MODELS, RewardModel
from bandits.thompson import ThompsonSampling

__all__ = [
    "KEY_PATTERN",
    "MOST_UNITS",
    "YES_OR_NO",
    "Aggregation",
    "Arm",
    "ArmState",
    "ExperimentRequest",
    "ItemId",
    "Key",
    "Metric",
    "Override",
    "Reward",
    "Shadow",
    "Specification",
    "State",
    "UnitId",
    "WarmStart",
]

# The look-ahead keeps `$` from allowing a line break at the end.
KEY_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$(?!\n)"
Key = Annotated[str, Meta(pattern=KEY_PATTERN, description="1 to 64 of A-Z a-z 0-9 . _ : -")]
ItemId = Annotated[str, Meta(min_length=1, max_length=256)]
UnitId = Annotated[str, Meta(min_length=1, max_length=256, description="Who is served: 1 to 256 characters")]
State = Literal["draft", "running", "paused", "stopped"]
ArmState = Literal["active", "draining", "retired"]
Aggregation = Literal["any", "sum", "max", "mean", "first", "last"]
Bound = Annotated[float, Meta(ge=-1e12, le=1e12)]

# Of all overrides together: every change of an experiment is audited with the whole of it.
MOST_UNITS = 10_000
YES_OR_NO = "bernoulli"  # the one model of which `any` is an outcome


def _usual_aggregation(model: str) -> Aggregation:
    """What suits a reward model: values that add up are added, of others the last counts; yes or no is yes once."""
    if model == YES_OR_NO or model not in REWARD_MODELS:
        return "any"
    return "sum" if REWARD_MODELS[model].adds_up else "last"


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a specification: a value, and every word in it is known."""


class Arm(_Part, frozen=True, kw_only=True):
    """One recommender variant."""

    key: Key
    recommender: AnyRecommender = Payload()
    prior: dict[str, float] | None = None  # parameters of the reward model's prior; null: its default
    state: ArmState = "active"


class Reward(_Part, frozen=True, kw_only=True):
    """What the policy learns from."""

    metric: Key = "click"
    model: str = "bernoulli"
    bounds: Annotated[tuple[Bound, Bound], Meta(description="[low, high], of model bounded only")] | None = None
    missing: Annotated[
        Literal["default", "explicit"],
        Meta(description="default: an exposure without feedback counts as `default` once the window has passed"),
    ] = "default"
    default: float = 0.0
    window_s: Annotated[float, Meta(ge=1, le=2_592_000, description="Attribution window, seconds")] = 1800.0
    late_until_s: Annotated[
        float,
        Meta(ge=0, le=31_536_000, description="How long after the decision feedback is taken at all, seconds"),
    ] = 604_800.0
    aggregation: Aggregation | None = None  # null: what suits the model, and is said in every answer

    def __post_init__(self) -> None:
        if self.aggregation is None:
            force_setattr(self, "aggregation", _usual_aggregation(self.model))

    @property
    def reward_model(self) -> RewardModel:
        """The kind of reward.

        Raises:
            KeyError: there is no such model.
            ValueError: it does not have these bounds.
        """
        return REWARD_MODELS[self.model].within(self.bounds)


class Metric(_Part, frozen=True, kw_only=True):
    """A metric that feedback may carry beside the reward."""

    key: Key
    level: Literal["business", "online", "offline"] = "online"
    aggregation: Aggregation = "any"


class Override(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """Pins units to an arm: those that are named, a share of the others, or both."""

    arm: Key
    units: Annotated[tuple[UnitId, ...], Meta(max_length=MOST_UNITS)] = ()
    share: Annotated[float, Meta(gt=0, le=1, description="Share of the units neither named nor held out")] | None = None


class WarmStart(_Part, frozen=True, kw_only=True):
    """The split to start with, as priors: before any outcome each of its arms is the best with its share's probability.

    An arm that is not in it, such as one that came later, has a prior of its own or starts with `mean` and `weight`.
    """

    split: dict[Key, Annotated[float, Meta(ge=0, le=1)]]
    mean: float  # usual mean reward: about what the split has earned
    weight: Annotated[float, Meta(ge=1, le=1_000_000, description="Outcomes that each prior is worth")] = 100.0
    deviation: (
        Annotated[float, Meta(ge=1e-9, le=1e12, description="Standard deviation of one outcome: gaussian rewards only")]
        | None
    ) = None


class Shadow(_Part, frozen=True, kw_only=True):
    """Another policy, which learns from the same outcomes and chooses beside the live one; nobody gets its arms."""

    policy: AnyPolicy
    arms: (
        Annotated[tuple[Key, ...], Meta(min_length=1, description="What it may choose from; null: every active arm")]
        | None
    ) = None

    def plays(self, arm: Arm) -> bool:
        """Whether it may choose an arm."""
        return arm.state == "active" and (self.arms is None or arm.key in self.arms)


class Specification(_Part, frozen=True, kw_only=True):
    """A whole experiment, without its state."""

    arms: Annotated[tuple[Arm, ...], Meta(min_length=1, max_length=1000)]
    control: Key | None = None  # null: the first arm
    policy: AnyPolicy = ThompsonSampling()
    reward: Reward = Reward()
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=100)] = ()
    memory: AnyMemory = Everything()
    warm_start: WarmStart | None = None
    assignment: Annotated[
        Literal["request", "unit"],
        Meta(description="unit: a unit keeps its arm while the arm's share does not fall"),
    ] = "request"
    exposure: Annotated[
        Literal["decision", "confirmed"],
        Meta(description="confirmed: a decision counts as an exposure once the frontend says that it was shown"),
    ] = "decision"
    ack: Annotated[
        Literal["committed", "queued"],
        Meta(description="queued: decisions are answered before they are committed; what a killed worker had is lost"),
    ] = "committed"
    retention_days: (
        Annotated[int, Meta(ge=1, le=3650, description="How long events are kept, if less than the service's setting")]
        | None
    ) = None
    holdout: Annotated[float, Meta(ge=0, lt=1, description="Share of units that always get the control arm")] = 0.0
    overrides: Annotated[
        tuple[Override, ...], Meta(max_length=1000, description="Who is pinned to an arm; never learned from")
    ] = ()
    fallback: Annotated[
        tuple[ItemId, ...], Meta(max_length=500, description="Items to give when the control arm fails too")
    ] = ()
    shadow: Shadow | None = None

    @property
    def control_arm(self) -> str:
        """Key of the control arm."""
        return self.control or self.arms[0].key

    @property
    def arm_keys(self) -> tuple[str, ...]:
        """The arms' keys, in order: the order of every vector over arms."""
        return tuple(arm.key for arm in self.arms)

    @property
    def metric_keys(self) -> frozenset[str]:
        """Keys of all metrics that feedback may carry."""
        return frozenset({self.reward.metric, *(metric.key for metric in self.metrics)})

    @property
    def reward_model(self) -> RewardModel:
        """The kind of reward."""
        return self.reward.reward_model

    def aggregation_of(self, metric: str) -> Aggregation | None:
        """How a metric's feedback is folded into an outcome; None for a metric that is not declared."""
        if metric == self.reward.metric:
            return self.reward.aggregation
        return next((m.aggregation for m in self.metrics if m.key == metric), None)


class ExperimentRequest(Specification, frozen=True, kw_only=True):
    """The body of `PUT /v1/experiments/{key}`: a specification, and the state to create it in."""

    state: State | UnsetType = UNSET

    def specification(self) -> Specification:
        """The specification alone."""
        parts = {name: getattr(self, name) for name in Specification.__struct_fields__}
        return Specification(**parts)
