"""The specification of an experiment: its shape, its defaults, and what makes one valid.

Decoding checks the shape and each value's limits; `faults_of` checks what several values say together.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.errors import Fault, InvalidInput
from app.memory import AnyMemory, Everything
from app.recommenders import AnyRecommender, Payload
from bandits.policy import AnyPolicy, floor
from bandits.posteriors import REWARD_MODELS, RewardModel
from bandits.thompson import ThompsonSampling
from bandits.warm_start import warm_priors

__all__ = [
    "KEY_PATTERN",
    "Arm",
    "ArmState",
    "Contract",
    "ExperimentRequest",
    "Key",
    "Metric",
    "Override",
    "Reward",
    "Specification",
    "State",
    "UnitId",
    "WarmStart",
    "bucket_width",
    "check",
    "contract_of",
    "epoch_changes",
    "prior_of",
    "priors_of",
    "same",
    "start_of_bucket",
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

# Widths of the statistics' time buckets, in seconds. At most a tenth of the attribution window, so that "mature" is
# known to within that; of the memory's unit, for the same reason; at most a minute, so that time series have a useful
# grain.
_BUCKET_WIDTHS = (60.0, 30.0, 10.0, 5.0, 1.0, 0.5, 0.1)
_EVERYTHING = Everything()

# Of all overrides together: every change of an experiment is audited with the whole of it.
_MOST_UNITS = 10_000
_ROUNDING = 1e-9  # ten times 0.1 is not 1


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
    aggregation: Aggregation = "any"

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
    units: Annotated[tuple[UnitId, ...], Meta(max_length=_MOST_UNITS)] = ()
    share: Annotated[float, Meta(gt=0, le=1, description="Share of the units neither named nor held out")] | None = None


class WarmStart(_Part, frozen=True, kw_only=True):
    """The split to start with, as priors: before any outcome each arm is the best with its share as probability."""

    split: dict[Key, Annotated[float, Meta(ge=0, le=1)]]
    mean: float  # usual mean reward: about what the split has earned
    weight: Annotated[float, Meta(ge=1, le=1_000_000, description="Outcomes that each prior is worth")] = 100.0
    deviation: (
        Annotated[float, Meta(ge=1e-9, le=1e12, description="Standard deviation of one outcome: gaussian rewards only")]
        | None
    ) = None


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


class Contract(Struct, frozen=True, kw_only=True):
    """What the feedback about one epoch's decisions is judged by, whatever the specification says by now."""

    reward: Reward
    metrics: dict[str, Aggregation]  # all that were declared during the epoch, the reward's among them
    memory: AnyMemory = Everything()
    control: Key | None = None  # the arm that the others are compared with; null: the epoch is older than this field

    @property
    def reward_model(self) -> RewardModel:
        """The kind of reward."""
        return self.reward.reward_model

    @property
    def bucket_s(self) -> float:
        """Width of the statistics' time buckets, seconds."""
        return bucket_width(self.reward, self.memory)

    def late_at(self, exposed_at: datetime) -> datetime:
        """End of the attribution window: what comes after it is late."""
        return exposed_at + _seconds(self.reward.window_s)

    def closed_at(self, decided_at: datetime) -> datetime:
        """Until when events are taken. Not from the exposure, so that it does not matter which event comes first."""
        return decided_at + _seconds(self.reward.late_until_s)


@cache
def _seconds(number: float) -> timedelta:
    """Of the few numbers that experiments have; each event asks."""
    return timedelta(seconds=number)


def contract_of(specification: Specification) -> Contract:
    """What feedback is judged by while a specification is in force."""
    declared = {metric.key: metric.aggregation for metric in specification.metrics}
    reward = specification.reward
    return Contract(
        reward=reward,
        metrics={**declared, reward.metric: reward.aggregation},
        memory=specification.memory,
        control=specification.control_arm,
    )


def check(specification: Specification) -> None:
    """Accepts a specification, or raises all that is wrong with it.

    Raises:
        InvalidInput: with a fault for each contradiction.
    """
    faults = tuple(_faults(specification))
    if faults:
        raise InvalidInput(*faults)


def prior_of(specification: Specification, arm: Arm) -> Struct:
    """The prior of an arm's mean reward.

    Raises:
        InvalidInput: it is no prior of the reward model.
    """
    model = specification.reward_model
    try:
        return msgspec.convert(arm.prior or {}, model.prior)
    except msgspec.ValidationError as error:
        pointer = f"#/arms/{specification.arms.index(arm)}/prior"
        raise InvalidInput.at(pointer, f"{error} (reward model {model.kind})") from error


def priors_of(specification: Specification) -> list[Struct]:
    """The prior of each arm's mean reward: from the split to start with, if there is one, or the arm's own.

    Raises:
        InvalidInput: an arm's is no prior of the reward model.
        ValueError: no priors give this split.
    """
    start = specification.warm_start
    if start is None:
        return [prior_of(specification, arm) for arm in specification.arms]
    split = tuple(start.split[key] for key in specification.arm_keys)
    return list(_warm_priors(specification.reward, split, start.mean, start.weight, start.deviation))


def bucket_width(reward: Reward, memory: AnyMemory = _EVERYTHING) -> float:
    """Width of the statistics' time buckets in seconds: at most a tenth of attribution window and memory's unit."""
    widest = max(min(reward.window_s, memory.unit_s) / 10, _BUCKET_WIDTHS[-1])
    return next(width for width in _BUCKET_WIDTHS if width <= widest)


def start_of_bucket(moment: datetime, width_s: float) -> datetime:
    """Start of the statistics' time bucket that a moment lies in."""
    return datetime.fromtimestamp(moment.timestamp() // width_s * width_s, UTC)


def epoch_changes(old: Specification, new: Specification) -> bool:
    """Whether exposures before and after the change are not comparable: other arms, policy, reward or assignment."""
    return not same(_dealt_by(old), _dealt_by(new))


def same(one: object, other: object) -> bool:
    """Whether two parts of specifications are the same JSON; to Python's `==`, true would be the same as 1."""
    return _told_apart(msgspec.to_builtins(one)) == _told_apart(msgspec.to_builtins(other))


def _dealt_by(specification: Specification) -> tuple[Any, ...]:
    """All that decides which arm a unit is given and what its outcome means."""
    arms = tuple((arm.key, arm.recommender, arm.state) for arm in specification.arms)
    s = specification
    return arms, s.control_arm, s.policy, s.reward, s.memory, s.assignment, s.exposure, s.holdout


def _told_apart(value: object) -> object:
    """A JSON value, with everything in it marked as a boolean or not."""
    if isinstance(value, dict):
        return {key: _told_apart(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_told_apart(part) for part in value]
    return isinstance(value, bool), value


def _faults(specification: Specification) -> Iterator[Fault]:
    yield from _arm_faults(specification)
    yield from _reward_faults(specification.reward)
    yield from _metric_faults(specification)
    yield from _policy_faults(specification)
    yield from _override_faults(specification)
    yield from _named_unit_faults(specification.overrides)
    if specification.warm_start is not None:
        yield from _warm_start_faults(specification, specification.warm_start)


def _arm_faults(specification: Specification) -> Iterator[Fault]:
    keys = specification.arm_keys
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield Fault(f"#/arms/{index}/key", f"{key!r} occurs twice; arm keys are unique")
    if specification.control is not None and specification.control not in keys:
        yield Fault("#/control", f"{specification.control!r} is no arm; the arms are {', '.join(keys)}")
    if not any(arm.state == "active" for arm in specification.arms):
        yield Fault("#/arms", "no arm is active; leave at least one that can be chosen")
    if _model_of(specification.reward) is not None:
        for arm in specification.arms:
            try:
                prior_of(specification, arm)
            except InvalidInput as error:
                yield from error.faults


def _model_of(reward: Reward) -> RewardModel | None:
    """The kind of reward; None when that itself is at fault."""
    return None if any(_model_faults(reward)) else reward.reward_model


def _model_faults(reward: Reward) -> Iterator[Fault]:
    if reward.model not in REWARD_MODELS:
        yield Fault("#/reward/model", f"{reward.model!r} is unknown; there are {', '.join(REWARD_MODELS)}")
        return
    try:
        REWARD_MODELS[reward.model].within(reward.bounds)
    except ValueError as error:
        yield Fault("#/reward/bounds", str(error))


def _reward_faults(reward: Reward) -> Iterator[Fault]:
    yield from _model_faults(reward)
    model = _model_of(reward)
    if model is not None and not model.accepts(reward.default):
        yield Fault("#/reward/default", f"{reward.default:g} is no {model.kind} reward; it must be {model.values}")
    if model is not None and reward.aggregation == "sum" and not model.adds_up:
        yield Fault(
            "#/reward/aggregation", f"the sum of two {model.kind} rewards is none; choose any, max, first or last"
        )
    if model is not None and reward.aggregation == "any" and not (model.accepts(0) and model.accepts(1)):
        yield Fault("#/reward/aggregation", f"any makes 0 or 1 of rewards that must be {model.values}; choose another")
    if model is not None and reward.aggregation == "mean" and _has_gaps(model):
        yield Fault(
            "#/reward/aggregation", f"the mean of two {model.kind} rewards may be none; choose any, max, first or last"
        )
    if reward.late_until_s < reward.window_s:
        yield Fault("#/reward/late_until_s", "must be at least window_s")


def _has_gaps(model: RewardModel) -> bool:
    """Whether a mean of rewards may be no reward: so it is with 0 or 1, and with counts."""
    return model.accepts(0) and model.accepts(1) and not model.accepts(0.5)


def _metric_faults(specification: Specification) -> Iterator[Fault]:
    seen: dict[str, Metric] = {}
    for index, metric in enumerate(specification.metrics):
        if metric.key in seen:
            yield Fault(f"#/metrics/{index}/key", f"{metric.key!r} occurs twice")
        if metric.key == specification.reward.metric and metric.aggregation != specification.reward.aggregation:
            yield Fault(f"#/metrics/{index}/aggregation", "differs from the reward's, which is the same metric")
        seen[metric.key] = metric


def _policy_faults(specification: Specification) -> Iterator[Fault]:
    policy, pointer = specification.policy, "#/policy/min_propensity"
    try:
        floor(policy, len(specification.arms))
        pointer = "#/policy"
        policy.check(specification.arm_keys, specification.reward.model)
    except ValueError as error:
        yield Fault(pointer, str(error))


def _override_faults(specification: Specification) -> Iterator[Fault]:
    states = {arm.key: arm.state for arm in specification.arms}
    for index, override in enumerate(specification.overrides):
        pointer, state = f"#/overrides/{index}", states.get(override.arm)
        if state is None:
            yield Fault(f"{pointer}/arm", f"{override.arm!r} is no arm; the arms are {', '.join(states)}")
        elif state != "active":
            yield Fault(f"{pointer}/arm", f"{override.arm!r} is {state}; name an active arm, or remove the override")
        if not override.units and override.share is None:
            yield Fault(pointer, "pins nobody; give units, or a share above 0")
    total = math.fsum(override.share or 0 for override in specification.overrides)
    if total > 1 + _ROUNDING:
        yield Fault("#/overrides", f"the shares sum to {total:g}; together they may be at most 1")


def _named_unit_faults(overrides: Sequence[Override]) -> Iterator[Fault]:
    """The first unit that is named twice, for there may be thousands; and whether there are too many."""
    named: set[str] = set()
    for index, override in enumerate(overrides):
        for place, unit in enumerate(override.units):
            if unit in named:
                yield Fault(f"#/overrides/{index}/units/{place}", f"{unit!r} is named twice; a unit has one arm")
                return
            named.add(unit)
    if len(named) > _MOST_UNITS:
        yield Fault("#/overrides", f"{len(named):,} units are named; at most {_MOST_UNITS:,} can be, all arms together")


def _warm_start_faults(specification: Specification, start: WarmStart) -> Iterator[Fault]:
    keys = specification.arm_keys
    for index, arm in enumerate(specification.arms):
        if arm.prior is not None:
            yield Fault(f"#/arms/{index}/prior", "warm_start makes every arm's prior; leave out one of the two")
    if start.split.keys() != set(keys):
        wrong = ", ".join(sorted(start.split.keys() ^ set(keys)))
        yield Fault(
            "#/warm_start/split", f"needs each arm and no other; of these there is one too many or few: {wrong}"
        )
    elif _model_of(specification.reward) is not None and len(set(keys)) == len(keys):
        try:
            priors_of(specification)
        except ValueError as error:
            yield Fault("#/warm_start", str(error))


@lru_cache(maxsize=256)  # every pass of the learner asks again
def _warm_priors(
    reward: Reward, split: tuple[float, ...], mean: float, weight: float, deviation: float | None
) -> tuple[Struct, ...]:
    return tuple(warm_priors(reward.reward_model, split, mean=mean, weight=weight, deviation=deviation))


class ExperimentRequest(Specification, frozen=True, kw_only=True):
    """The body of `PUT /v1/experiments/{key}`: a specification, and the state to create it in."""

    state: State | UnsetType = UNSET

    def specification(self) -> Specification:
        """The specification alone."""
        parts = {name: getattr(self, name) for name in Specification.__struct_fields__}
        return Specification(**parts)
