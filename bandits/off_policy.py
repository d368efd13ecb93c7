"""Off-policy evaluation: what a target policy would earn, from the log of another policy.

n logged rows: context x, arm a, reward r, propensity p. With w = π(a|x)/p for a target policy π and a reward
model q̂(x, a):

    ips        mean(w r)                                    unbiased; large weights make it noisy
    snips      Σ w r / Σ w                                  steadier, within the rewards' range
    dm         mean(Σ_a π q̂)                                as good as the reward model, no better
    dr         mean(Σ_a π q̂ + w (r − q̂))                    unbiased, and less noisy with a good model
    sndr       mean(Σ_a π q̂) + Σ w (r − q̂) / Σ w            dr, self-normalised
    switch_dr  dr, with weights above a threshold set to 0
    dros       dr, with weights shrunk to λ w/(w² + λ)

Propensities must be those of the logging policy, and must have been above 0 for each arm that π plays.
These functions compute whatever they are given; `bandits.evaluation` also judges whether it can be believed.

References:
    Horvitz and Thompson (1952); Swaminathan and Joachims, "The self-normalized estimator for counterfactual
    learning" (2015); Dudík, Langford and Li, "Doubly robust policy evaluation and learning" (2011); Wang,
    Agarwal and Dudík, "Optimal and adaptive off-policy evaluation in contextual bandits" (2017); Su, Dimakopoulou,
    Krishnamurthy and Dudík, "Doubly robust off-policy evaluation with shrinkage" (2020).
"""

from __future__ import annotations

import math

import numpy.typing as npt

from bandits.estimates import Estimate, Sample
from bandits.interval_methods import NORMAL, IntervalMethod
from bandits.logged_rows import Rows, expected_reward, summarise
from bandits.weighting import CLIP, SHRINKAGE, THRESHOLD, clip_weights, drop_weights, shrink_weights

__all__ = [
    "Estimate",
    "clipped_ips",
    "dm",
    "dr",
    "dros",
    "ips",
    "sndr",
    "snips",
    "switch_dr",
]


def ips(
    reward: npt.ArrayLike, propensity: npt.ArrayLike, target: npt.ArrayLike, *, interval: IntervalMethod = NORMAL
) -> Estimate:
    """Inverse propensity scoring, mean(w r): unbiased.

    Args:
        reward: shape (n,), finite.
        propensity: the logging policy's probability of the logged arm, shape (n,), within (0, 1].
        target: the target policy's probability of it, shape (n,), within [0, 1].
        interval: how the interval is made.

    Raises:
        ValueError: shapes differ, there is no row, or a value is out of its range.
    """
    return Rows.of(reward, propensity, target).mean(interval)


def clipped_ips(
    reward: npt.ArrayLike,
    propensity: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    clip: float = CLIP,
    interval: IntervalMethod = NORMAL,
) -> Estimate:
    """IPS with weights cut at `clip`, mean(min(w, clip) r): biased towards 0, and less noisy.

    Args and errors as for `ips`; `clip` is above 0.

    Reference: Ionides, "Truncated importance sampling" (2008).
    """
    return Rows.of(reward, propensity, target).mean(interval, clip_weights(clip))


def snips(
    reward: npt.ArrayLike, propensity: npt.ArrayLike, target: npt.ArrayLike, *, interval: IntervalMethod = NORMAL
) -> Estimate:
    """Self-normalised IPS, Σ w r / Σ w: a weighted mean of the rewards, so never outside their range.

    Args and errors as for `ips`; also refused is a log in which every weight is 0.
    """
    return Rows.of(reward, propensity, target).self_normalised(interval)


def dm(q: npt.ArrayLike, pi: npt.ArrayLike, *, interval: IntervalMethod = NORMAL) -> Estimate:
    """The direct method, mean(Σ_a π(a|x) q̂(x, a)): the reward model's word, and no weights.

    Standard error and interval tell how contexts differ, not how wrong the model is.

    Args:
        q: predicted reward of each arm, shape (n, n_arms), finite.
        pi: the target's probability of each arm, shape (n, n_arms), rows sum to 1.
        interval: how the interval is made.

    Raises:
        ValueError: shapes differ, a value is not finite, or a row of `pi` is no distribution.
    """
    return summarise(Sample((expected_reward(q, pi),)), interval)


def dr(  # noqa: PLR0917 - the order of arguments is public
    reward: npt.ArrayLike,
    propensity: npt.ArrayLike,
    target: npt.ArrayLike,
    action: npt.ArrayLike,
    q: npt.ArrayLike,
    pi: npt.ArrayLike,
    *,
    clip: float = math.inf,
    interval: IntervalMethod = NORMAL,
) -> Estimate:
    """Doubly robust, mean(Σ_a π q̂ + w (r − q̂)): right when either the propensities or the model are.

    Args:
        reward: shape (n,), finite.
        propensity: the logging policy's probability of the logged arm, shape (n,), within (0, 1].
        target: the target policy's probability of it, shape (n,): `pi` at `action`.
        action: index of the logged arm, shape (n,), integers within [0, n_arms).
        q: predicted reward of each arm, shape (n, n_arms), finite; learned from other rows than these, or the
            standard error is too small.
        pi: the target's probability of each arm, shape (n, n_arms), rows sum to 1.
        clip: largest weight, above 0; by default weights stay as they are.
        interval: how the interval is made.

    Raises:
        ValueError: shapes differ, a value is out of its range, or `target` is not `pi` at `action`.
    """
    rows = Rows.of(reward, propensity, target).modelled(action, q, pi, target)
    return rows.mean(interval, clip_weights(clip))


def sndr(  # noqa: PLR0917 - the order of `dr`
    reward: npt.ArrayLike,
    propensity: npt.ArrayLike,
    target: npt.ArrayLike,
    action: npt.ArrayLike,
    q: npt.ArrayLike,
    pi: npt.ArrayLike,
    *,
    interval: IntervalMethod = NORMAL,
) -> Estimate:
    """Self-normalised doubly robust, mean(Σ_a π q̂) + Σ w (r − q̂) / Σ w. Args and errors as for `dr` and `snips`."""
    return Rows.of(reward, propensity, target).modelled(action, q, pi, target).self_normalised(interval)


def switch_dr(  # noqa: PLR0917 - the order of `dr`
    reward: npt.ArrayLike,
    propensity: npt.ArrayLike,
    target: npt.ArrayLike,
    action: npt.ArrayLike,
    q: npt.ArrayLike,
    pi: npt.ArrayLike,
    *,
    threshold: float = THRESHOLD,
    interval: IntervalMethod = NORMAL,
) -> Estimate:
    """Switch-DR: doubly robust where w ≤ `threshold`, the reward model alone elsewhere. Args and errors as for `dr`."""
    rows = Rows.of(reward, propensity, target).modelled(action, q, pi, target)
    return rows.mean(interval, drop_weights(threshold))


def dros(  # noqa: PLR0917 - the order of `dr`
    reward: npt.ArrayLike,
    propensity: npt.ArrayLike,
    target: npt.ArrayLike,
    action: npt.ArrayLike,
    q: npt.ArrayLike,
    pi: npt.ArrayLike,
    *,
    shrinkage: float = SHRINKAGE,
    interval: IntervalMethod = NORMAL,
) -> Estimate:
    """Doubly robust with optimistic shrinkage, weights λ w/(w² + λ); λ is `shrinkage`. Args and errors as for `dr`."""
    rows = Rows.of(reward, propensity, target).modelled(action, q, pi, target)
    return rows.mean(interval, shrink_weights(shrinkage))
