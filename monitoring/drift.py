"""Whether features moved between a reference window and the current one. Loads scipy: not for web workers.

Small windows (n, the rows of the smaller one, below 1,000) are tested; in large ones, where any difference is
significant, the distance must also be big enough to matter. Rows must be independent and the windows must not
overlap: where a unit has several rows, give one value per unit (`monitoring.units`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import scipy.stats

from monitoring import two_sample
from monitoring.columns import Column, Counts, Kind, Values, Windows
from monitoring.lists import FloatArray

__all__ = [
    "MISSING",
    "DriftReport",
    "DriftRules",
    "FeatureDrift",
    "Features",
    "Test",
    "detect_drift",
    "distance",
    "features",
]

Test = Literal["kolmogorov_smirnov", "chi_squared", "two_proportion_z", "fisher_exact", "wasserstein", "jensen_shannon"]
Features = Mapping[str, Values]

MISSING: Final = ":missing"  # what the name of a feature's share of missing values ends with

# With fewer to expect in a small window beside a large one, the z test at 0.05/20 rejects up to twice as often as it
# says (binomial sums); with 25 it is within a fifth.
_NORMAL_FROM: Final = 25.0


@dataclass(frozen=True, kw_only=True)
class DriftRules:
    """When a feature, and when the data set, has drifted.

    Attributes:
        significance: largest adjusted p, within (0, 1).
        large: windows of so many rows are judged by distance too.
        wasserstein: least distance of numbers, in standard deviations of the reference.
        jensen_shannon: least distance of categories, within [0, 0.833].
        dataset_share: least share of drifted features.
    """

    significance: float = 0.05
    large: int = 1000
    wasserstein: float = 0.1
    jensen_shannon: float = 0.1
    dataset_share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """What became of one feature.

    Attributes:
        feature: its name; with `MISSING` at the end, the share of its missing values.
        kind: numeric, categorical or binary.
        test: what `value` and `threshold` are of: a test's p, or a distance.
        n: rows with a value in the smaller window.
        value: p of the test, below which `threshold` counts; or the distance, from which it counts.
        threshold: of the value.
        p_value: of the test of the feature's kind, whichever its `test` is.
        p_adjusted: the same, adjusted for the number of features of the pass (Benjamini–Hochberg).
        drifted: `p_adjusted` is below the significance, and a distance reaches its threshold.
        moved: "mean", or the category whose share changed most; of two values the second, as 1, True or missing.
        change: of what moved, current − reference, in the feature's units or as a share.
        psi: population stability index, when asked for.
    """

    feature: str
    kind: Kind
    test: Test
    n: int
    value: float
    threshold: float
    p_value: float
    p_adjusted: float
    drifted: bool
    moved: str
    change: float
    psi: float | None = None

    @property
    def direction(self) -> Literal["up", "down", "none"]:
        """Which way `moved` went."""
        return "up" if self.change > 0 else "down" if self.change < 0 else "none"


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """A pass over all features.

    Attributes:
        features: one per feature, and one per feature that has missing values, in the order given.
        untested: features without any value in one of the windows.
        share: of the tested features that drifted, within [0, 1]; nan when there are none.
        drifted: whether the data set did.
    """

    features: tuple[FeatureDrift, ...]
    untested: tuple[str, ...]
    share: float
    drifted: bool


def detect_drift(
    reference: Features,
    current: Features,
    *,
    rules: DriftRules | None = None,
    thresholds: Mapping[str, float] | None = None,
    psi: bool = False,
) -> DriftReport:
    """Compare two windows, feature by feature.

    Args:
        reference: by name of the feature, one value per row; None and nan are missing (see `Column.of`).
        current: the same features.
        rules: when something has drifted.
        thresholds: distances of features that have their own (`monitoring.drift_thresholds`); such features are
            judged by distance and p in windows of any size.
        psi: whether to give the population stability index too.

    Raises:
        ValueError: when the windows have different features, or a value is impossible.
    """
    judged = rules or DriftRules()
    pairs = features(reference, current)
    tested = {name: windows for name, windows in pairs.items() if windows.n}
    found = [
        _examined(name, windows, judged, (thresholds or {}).get(name), psi=psi) for name, windows in tested.items()
    ]
    results = tuple(
        replace(each, p_adjusted=p, drifted=_drifted(each, p, judged))
        for each, p in zip(found, _adjusted([each.p_value for each in found]), strict=True)
    )
    share = sum(each.drifted for each in results) / len(results) if results else np.nan
    return DriftReport(
        features=results,
        untested=tuple(name for name in pairs if name not in tested),
        share=share,
        drifted=share >= judged.dataset_share,
    )


def features(reference: Features, current: Features) -> dict[str, Windows]:
    """The windows of each feature, and of the missing values of each that has some.

    Raises:
        ValueError: when the windows have different features, or a value is impossible.
    """
    if reference.keys() != current.keys():
        raise ValueError(f"both windows need the same features; only one has {sorted({*reference} ^ {*current})}")
    pairs: dict[str, Windows] = {}
    for name in reference:
        columns = _column(name, reference[name]), _column(name, current[name])
        pairs[name] = Windows.of(*columns)
        if not all(column.present.all() for column in columns):
            pairs[name + MISSING] = Windows(*(np.where(each.present, "known", "missing") for each in columns))
    return pairs


def distance(windows: Windows) -> float:
    """The distance of the feature's kind: Wasserstein ÷ reference standard deviation, or Jensen–Shannon."""
    if windows.kind == "numeric":
        return two_sample.wasserstein_normed(windows.reference, windows.current)
    return two_sample.jensen_shannon_distance(windows.counts.pooled().shares)


def _column(name: str, values: Values) -> Column:
    try:
        return Column.of(values)
    except ValueError as refusal:
        raise ValueError(f"feature {name}: {refusal}") from refusal


def _examined(name: str, windows: Windows, rules: DriftRules, threshold: float | None, *, psi: bool) -> FeatureDrift:
    kind = windows.kind
    test, p = _numeric_test(windows) if kind == "numeric" else _counts_test(kind, windows.counts)
    value, limit = p, rules.significance
    if threshold is not None or windows.n >= rules.large:
        test, usual = (
            ("wasserstein", rules.wasserstein) if kind == "numeric" else ("jensen_shannon", rules.jensen_shannon)
        )
        value, limit = distance(windows), usual if threshold is None else threshold
    moved, change = _movement(kind, windows)
    return FeatureDrift(
        feature=name,
        kind=kind,
        test=test,
        n=windows.n,
        value=value,
        threshold=limit,
        p_value=p,
        p_adjusted=p,
        drifted=False,
        moved=moved,
        change=change,
        psi=_psi(windows) if psi else None,
    )


def _numeric_test(windows: Windows) -> tuple[Test, float]:
    return "kolmogorov_smirnov", two_sample.kolmogorov_smirnov(windows.reference, windows.current)


def _counts_test(kind: Kind, counts: Counts) -> tuple[Test, float]:
    if kind == "categorical":
        return "chi_squared", two_sample.chi_squared(counts.pooled().table)
    if counts.values.size < 2:
        return "two_proportion_z", 1.0
    if counts.expected_least().min() < _NORMAL_FROM:
        return "fisher_exact", two_sample.fisher_exact(counts.table)
    return "two_proportion_z", two_sample.two_proportion_z(counts.table)


def _movement(kind: Kind, windows: Windows) -> tuple[str, float]:
    if kind == "numeric":
        return "mean", float(windows.current.mean() - windows.reference.mean())
    counts = windows.counts
    change = counts.shares[1] - counts.shares[0]
    # Of two values the share of the second tells all: 1 of 0 and 1, True, missing.
    most = -1 if kind == "binary" else int(np.abs(change).argmax())
    return counts.label(most), float(change[most])


def _psi(windows: Windows) -> float:
    if windows.numeric:
        return two_sample.population_stability_index(two_sample.sturges_shares(windows.reference, windows.current))
    return two_sample.population_stability_index(windows.counts.shares)


def _adjusted(p_values: list[float]) -> list[float]:
    """Benjamini and Hochberg's (1995) step-up adjustment."""
    adjusted: FloatArray = scipy.stats.false_discovery_control(p_values) if p_values else np.empty(0)
    return [float(p) for p in adjusted]


def _drifted(found: FeatureDrift, p_adjusted: float, rules: DriftRules) -> bool:
    by_distance = found.test in {"wasserstein", "jensen_shannon"}
    return p_adjusted < rules.significance and (not by_distance or found.value >= found.threshold)
