"""What holds although the allocation depended on the data and people look all the time.

A posterior's credible interval is naive: right for one look at a time fixed before, and no more. Here are the
honest figures (confidence sequences of an arm's mean and lift), the drift-robust ones (which allow rates that
change with time), and the check that arms were exposed as planned. docs/statistics.md says when to read which.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bandits.beta_mixture import BetaMixture
from bandits.drift_robust import AllocationCounts, ScoreSums, contrasts, robust_lifts, robust_means, scores
from bandits.gamma_mixture import GammaMixture
from bandits.intervals import ConfidenceSequence, Intervals, lifts
from bandits.sample_ratio import ExposureShares, SampleRatio, sample_ratio
from bandits.t_mixture import TMixture

__all__ = [
    "CONFIDENCE_SEQUENCES",
    "AllocationCounts",
    "BetaMixture",
    "ConfidenceSequence",
    "ExposureShares",
    "GammaMixture",
    "Intervals",
    "SampleRatio",
    "ScoreSums",
    "TMixture",
    "contrasts",
    "lifts",
    "robust_lifts",
    "robust_means",
    "sample_ratio",
    "scores",
]

# By kind of reward. `bounded` rewards take BetaMixture(low=..., high=...) with their bounds.
CONFIDENCE_SEQUENCES: Final[Mapping[str, ConfidenceSequence]] = MappingProxyType(
    {"bernoulli": BetaMixture(), "gaussian": TMixture(), "poisson": GammaMixture()}
)
