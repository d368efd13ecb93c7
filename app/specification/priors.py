"""What is believed of the arms before anything was seen."""

from functools import lru_cache

import msgspec
from msgspec import Struct

from app.errors import InvalidInput
from app.specification.shape import Arm, Reward, Specification, WarmStart
from bandits.warm_start import usual_prior, warm_priors

__all__ = ["prior_of", "priors_of", "split_priors"]


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
    """The prior of each arm's mean reward: from the split to start with, if it has a share of one, or the arm's own.

    Arms that are not in the split and have no prior, such as one that came later, get the split's usual mean and
    weight, so what the others believe stays as it is.

    Raises:
        InvalidInput: an arm's is no prior of the reward model.
        ValueError: no priors give this split.
    """
    start = specification.warm_start
    if start is None:
        return [prior_of(specification, arm) for arm in specification.arms]
    shared, usual = split_priors(specification, start)
    return [
        prior_of(specification, arm) if arm.prior is not None else shared.get(arm.key, usual)
        for arm in specification.arms
    ]


def split_priors(specification: Specification, start: WarmStart) -> tuple[dict[str, Struct], Struct]:
    """The prior of each arm in the split, by its key, and that of all others."""
    keys = [key for key in specification.arm_keys if key in start.split]
    split = tuple(start.split[key] for key in keys)
    *made, usual = _warm_priors(specification.reward, split, start.mean, start.weight, start.deviation)
    return dict(zip(keys, made, strict=True)), usual


@lru_cache(maxsize=256)  # every pass of the learner asks again
def _warm_priors(
    reward: Reward, split: tuple[float, ...], mean: float, weight: float, deviation: float | None
) -> tuple[Struct, ...]:
    """The priors of the arms in the split, and behind them that of all others."""
    model = reward.reward_model
    made = warm_priors(model, split, mean=mean, weight=weight, deviation=deviation)
    return *made, usual_prior(model, mean=mean, weight=weight, deviation=deviation)
