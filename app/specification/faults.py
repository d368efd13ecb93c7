"""What makes a specification invalid though each of its values is fine: what several of them say together."""

import math
from collections.abc import Iterator, Sequence

from app.errors import Fault, InvalidInput
from app.specification.priors import prior_of, split_priors
from app.specification.shape import MOST_UNITS, YES_OR_NO, Metric, Override, Reward, Shadow, Specification, WarmStart
from bandits.policy import Policy, floor
from bandits.posteriors import REWARD_MODELS, RewardModel

__all__ = ["check"]

_ROUNDING = 1e-9  # ten times 0.1 is not 1


def check(specification: Specification) -> None:
    """Accepts a specification, or raises all that is wrong with it.

    Raises:
        InvalidInput: with a fault for each contradiction.
    """
    faults = tuple(_faults(specification))
    if faults:
        raise InvalidInput(*faults)


def _faults(specification: Specification) -> Iterator[Fault]:
    yield from _arm_faults(specification)
    yield from _reward_faults(specification.reward)
    yield from _metric_faults(specification)
    yield from _policy_faults(specification)
    yield from _override_faults(specification)
    yield from _named_unit_faults(specification.overrides)
    if specification.warm_start is not None:
        yield from _warm_start_faults(specification, specification.warm_start)
    if specification.shadow is not None:
        yield from _shadow_faults(specification, specification.shadow)


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
    if model is not None:
        yield from _aggregation_faults(reward, model)
    if reward.late_until_s < reward.window_s:
        yield Fault("#/reward/late_until_s", "must be at least window_s")


def _aggregation_faults(reward: Reward, model: RewardModel) -> Iterator[Fault]:
    fitting = {"any": model.kind == YES_OR_NO, "sum": model.adds_up, "mean": not _has_gaps(model)}
    if not fitting.get(str(reward.aggregation), True):
        others = ", ".join([word for word, fits in fitting.items() if fits] + ["max", "first", "last"])
        detail = f"{reward.aggregation} cannot make one {model.kind} reward of several; choose one of {others}"
        yield Fault("#/reward/aggregation", detail)


def _has_gaps(model: RewardModel) -> bool:
    """Whether a mean of rewards may be no reward: so it is with 0 or 1, and with counts."""
    return model.accepts(0) and model.accepts(1) and not model.accepts(0.5)


def _metric_faults(specification: Specification) -> Iterator[Fault]:
    seen: dict[str, Metric] = {}
    for index, metric in enumerate(specification.metrics):
        if metric.key in seen:
            yield Fault(f"#/metrics/{index}/key", f"{metric.key!r} occurs twice")
        if metric.key == specification.reward.metric and metric.aggregation != specification.reward.aggregation:
            detail = f"differs from {specification.reward.aggregation}, the reward's, which is the same metric"
            yield Fault(f"#/metrics/{index}/aggregation", detail)
        seen[metric.key] = metric


def _policy_faults(specification: Specification) -> Iterator[Fault]:
    yield from _misfits(specification.policy, specification.arm_keys, specification.reward, "#/policy")


def _misfits(policy: Policy, arms: Sequence[str], reward: Reward, pointer: str) -> Iterator[Fault]:
    """What keeps a policy from choosing among arms."""
    place = f"{pointer}/min_propensity"
    try:
        floor(policy, len(arms))
        place = pointer
        policy.check(arms, reward.model)
    except ValueError as error:
        yield Fault(place, str(error))


def _shadow_faults(specification: Specification, shadow: Shadow) -> Iterator[Fault]:
    keys = specification.arm_keys
    chosen = keys if shadow.arms is None else shadow.arms
    for index, key in enumerate(chosen):
        if key not in keys:
            yield Fault(f"#/shadow/arms/{index}", f"{key!r} is no arm; the arms are {', '.join(keys)}")
        elif shadow.arms is not None and key in chosen[:index]:
            yield Fault(f"#/shadow/arms/{index}", f"{key!r} is named twice")
    if not any(shadow.plays(arm) for arm in specification.arms):
        yield Fault("#/shadow/arms", "none of them is active; name an active arm, or remove the shadow")
    yield from _misfits(shadow.policy, chosen, specification.reward, "#/shadow/policy")


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
    if len(named) > MOST_UNITS:
        yield Fault("#/overrides", f"{len(named):,} units are named; at most {MOST_UNITS:,} can be, all arms together")


def _warm_start_faults(specification: Specification, start: WarmStart) -> Iterator[Fault]:
    keys = specification.arm_keys
    for index, arm in enumerate(specification.arms):
        if arm.prior is not None and arm.key in start.split:
            yield Fault(f"#/arms/{index}/prior", "its share in warm_start makes its prior; leave out one of the two")
    strangers = sorted(start.split.keys() - set(keys))
    for key in strangers:
        yield Fault("#/warm_start/split", f"{key!r} is no arm; the arms are {', '.join(keys)}")
    if strangers:
        return
    if _model_of(specification.reward) is not None and len(set(keys)) == len(keys):
        try:
            split_priors(specification, start)
        except ValueError as error:
            yield Fault("#/warm_start", str(error))
