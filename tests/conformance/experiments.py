"""Experiments and policies for the conformance checks: some fixed, and all that hypothesis can think of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from bandits.policy import POLICIES, AnyPolicy, Policy, allocate
from bandits.posteriors import REWARD_MODELS, Posterior
from bandits.statistics import ArmStatistics, FloatArray

Example = Callable[[Sequence[str]], Policy]
Sampler = Callable[[np.random.Generator, int], FloatArray]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Arms and what is known about them."""

    arms: tuple[str, ...]
    statistics: ArmStatistics
    posterior: Posterior

    def allocate(self, policy: Policy, active: Sequence[bool] | None = None) -> FloatArray:
        """The probabilities of a policy past its warm-up, or with some arms drained."""
        return allocate(
            policy,
            arms=self.arms,
            statistics=self.statistics,
            posterior=self.posterior,
            mature=np.full(len(self.arms), policy.warm_up),
            active=np.ones(len(self.arms), dtype=bool) if active is None else active,
        ).probabilities

    def permuted(self, order: Sequence[int]) -> Experiment:
        """The same experiment with its arms in another order."""
        indices = np.array(order)
        return Experiment(
            arms=tuple(self.arms[arm] for arm in order),
            statistics=self.statistics.select(indices),
            posterior=self.posterior.select(indices),
        )


def experiment(reward: str, statistics: ArmStatistics, priors: Sequence[msgspec.Struct] | None = None) -> Experiment:
    """An experiment with arms that have these statistics, and the default priors or others."""
    model = REWARD_MODELS[reward]
    posterior = model.posterior(statistics, priors or [model.prior()] * statistics.n_arms)
    arms = tuple(f"arm-{arm}" for arm in range(statistics.n_arms))
    return Experiment(arms=arms, statistics=statistics, posterior=posterior)


@st.composite
def experiments(draw: st.DrawFn, reward: str, sampler: Sampler) -> Experiment:
    """Up to 10 arms, some of them equal, with none to 10⁸ outcomes each, decayed ones too, and any priors."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_arms = draw(st.integers(1, 10))
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 10, 100]), min_size=n_arms, max_size=n_arms))
    weights = np.array(draw(st.lists(st.sampled_from([0.01, 1, 1e3, 1e6]), min_size=n_arms, max_size=n_arms)))
    once = ArmStatistics.of([sampler(rng, size) for size in sizes])
    statistics = ArmStatistics(n=once.n * weights, sum=once.sum * weights, sum_of_squares=once.sum_of_squares * weights)
    priors = draw(st.lists(_priors(REWARD_MODELS[reward].prior()), min_size=n_arms, max_size=n_arms))
    copied = draw(st.lists(st.integers(0, n_arms - 1), min_size=n_arms, max_size=n_arms))
    return experiment(reward, statistics.select(np.array(copied)), [priors[arm] for arm in copied])


def _priors(default: msgspec.Struct) -> st.SearchStrategy[msgspec.Struct]:
    """The default prior, and priors with up to eight times its parameters."""
    numbers = msgspec.structs.asdict(default)
    scaled = {name: st.floats(1, 8).map(float(value).__mul__) for name, value in numbers.items()}
    return st.just(default) | st.builds(type(default), **scaled)


def configurations(kind: str, arms: Sequence[str]) -> st.SearchStrategy[Policy]:
    """A policy of a kind with any parameters that its JSON schema allows and that fit the arms."""
    structs = msgspec.json.schema(POLICIES[kind])["$defs"]
    schema = structs[POLICIES[kind].__name__]
    own: dict[str, st.SearchStrategy[Any]] = {
        "kind": st.just(kind),
        "min_propensity": st.none() | st.floats(0, 1 / len(arms)),
        "probabilities": _shares(arms),
    }
    fields = {
        name: own[name] if name in own else _values(field, structs) for name, field in schema["properties"].items()
    }
    required = {name: fields.pop(name) for name in schema["required"]}
    return st.fixed_dictionaries(required, optional=fields).map(lambda body: msgspec.convert(body, AnyPolicy))


def _values(field: dict[str, Any], structs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The values that a JSON schema allows."""
    if "anyOf" in field:
        return st.one_of([_values(option, structs) for option in field["anyOf"]])
    if "enum" in field:
        return st.sampled_from(field["enum"])
    if "$ref" in field:
        properties = structs[field["$ref"].rpartition("/")[2]]["properties"]
        return st.fixed_dictionaries({}, optional={name: _values(part, structs) for name, part in properties.items()})
    if field["type"] == "null":
        return st.none()
    if field["type"] == "integer":
        return st.integers(field["minimum"], field["maximum"])
    return st.floats(field["minimum"], field["maximum"])


@st.composite
def _shares(draw: st.DrawFn, arms: Sequence[str]) -> dict[str, float]:
    weights = draw(st.lists(st.integers(0, 100), min_size=len(arms), max_size=len(arms)).filter(any))
    return {arm: weight / sum(weights) for arm, weight in zip(arms, weights, strict=True)}
