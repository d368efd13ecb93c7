"""The estimators against obp's, on real logs."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bandits.estimates import Estimate
from bandits.evaluation import ESTIMATORS, Refusal, evaluate, evaluate_log
from bandits.interval_methods import Bootstrap
from bandits.log import Log
from bandits.logged_rows import Rows
from bandits.off_policy import clipped_ips, dm, dr, dros, ips, sndr, snips, switch_dr
from bandits.overlap import Overlap
from bandits.targets import Uniform
from tests.bandits.open_bandit import Case, reference

_REFERENCE = reference()
_BLOCKS = [(campaign, block) for campaign in ("all", "men") for block in _REFERENCE[campaign] if "_to_" in block]
_WEIGHTED: dict[str, Callable[..., Estimate]] = {"ips": ips, "ips_clip10": clipped_ips, "snips": snips}
_MODELLED: dict[str, Callable[..., Estimate]] = {
    "dr": dr,
    "dr_clip10": functools.partial(dr, clip=10),
    "sndr": sndr,
    "switch_dr_10": functools.partial(switch_dr, threshold=10),
    "dros_100": functools.partial(dros, shrinkage=100),
}


class _LegacyStream(np.random.Generator):
    """The indices that obp's bootstrap draws: numpy's legacy generator, seeded as there."""

    def __init__(self) -> None:
        super().__init__(np.random.MT19937(0))
        self._legacy = np.random.RandomState(12345)

    def integers(self, low: int, high: int, *, size: tuple[int, int]) -> Any:  # type: ignore[override]
        return self._legacy.randint(low, high, size=size)


@pytest.fixture(scope="module", params=_BLOCKS, ids="-".join)
def block(request: pytest.FixtureRequest) -> tuple[Case, dict[str, Any]]:
    """A log with its target, and what obp made of them."""
    campaign, name = request.param
    return Case.of(campaign, name), _REFERENCE[campaign][name]


def test_estimators_equal_obp(block: tuple[Case, dict[str, Any]]) -> None:
    """Every estimator of the reference, with both reward models, has obp's value and standard error to 1e-9."""
    case, expected = block
    for name, figures in expected["estimators"].items():
        estimate = _estimate(case, name)
        assert math.isclose(estimate.value, figures["value"], rel_tol=1e-9), name
        # obp knows no better standard error for ratios than that of their terms; the reference adds the delta method.
        if "se_delta" in figures:
            assert math.isclose(estimate.standard_error, figures["se_delta"], rel_tol=1e-9), name
        elif not name.startswith("sndr"):
            assert math.isclose(estimate.standard_error, figures["se_rounds"], rel_tol=1e-9, abs_tol=1e-15), name


def test_weights_equal_obp(block: tuple[Case, dict[str, Any]]) -> None:
    """Effective sample size, largest weight and share of rows without weight are those of the reference."""
    case, expected = block
    estimate, weights = ips(*case.log), expected["weights"]
    assert estimate.effective_sample_size == pytest.approx(weights["ess"], rel=1e-9)
    assert estimate.max_weight == pytest.approx(weights["max"], rel=1e-9)
    assert estimate.zero_weight_share == weights["share_zero"]


@pytest.mark.parametrize("campaign", ["all", "men"])
def test_bootstrap_equals_obp(campaign: str) -> None:
    """From the same resamples come the same percentiles, also of the ratio that each resample renormalises."""
    name = "random_to_bts_position1"
    case, expected = Case.of(campaign, name), _REFERENCE[campaign][name]["estimators"]
    for estimator, key in (("ips", "ci95_obp"), ("snips", "ci95_ratio_bootstrap"), ("dr[tabular]", "ci95_obp")):
        method = Bootstrap(rng=_LegacyStream(), resamples=10_000)
        bounds = expected[estimator][key]
        lower, upper = _estimate(case, estimator, interval=method).interval
        assert lower == pytest.approx(bounds["lower"], abs=1e-8)
        assert upper == pytest.approx(bounds["upper"], abs=1e-8)


def test_one_row_that_outweighs_all_others_gets_a_warning_not_a_number() -> None:
    """One weight of 21,739 leaves 10,000 rows worth 2: every estimator refuses and says why."""
    case = Case.read("women", "bts", "random")
    log = Log(
        arms=tuple(str(arm) for arm in range(46)), action=case.action, reward=case.reward, propensity=case.propensity
    )
    evaluation = evaluate_log(log, Uniform())
    assert evaluation.overlap.max_weight == pytest.approx(21_739.13, abs=0.01)
    assert evaluation.overlap.effective_sample_size == pytest.approx(2.08, abs=0.01)
    assert evaluation.estimates.keys() == ESTIMATORS.keys()
    for refusal in evaluation.estimates.values():
        assert isinstance(refusal, Refusal)
        assert refusal.reasons == (
            "the 10,000 rows are worth 2.08, and 100 are needed (effective sample size; largest weight 21,739)",
        )
    assert ips(*case.log).max_weight == evaluation.overlap.max_weight


def test_judgement_leaves_estimates_as_they_are() -> None:
    """Where the log bears it, each estimator's number is that of its plain function."""
    case = Case.of("men", "random_to_bts")
    q, pi = case.model("logreg_cf3"), case.pi
    rows = Rows.of(*case.log).modelled(case.action, q, pi, case.target)
    overlap = Overlap.of(rows, case.action, pi.mean(axis=0), [str(arm) for arm in range(34)])
    estimates = evaluate(rows, overlap)
    names = [
        "ips",
        "ips_clip10",
        "snips",
        *(f"{name}[logreg_cf3]" for name in ("dm", "dr", "sndr", "switch_dr_10", "dros_100")),
    ]
    assert list(estimates.values()) == [_estimate(case, name) for name in names]


def _estimate(case: Case, name: str, **options: Any) -> Estimate:
    if name in _WEIGHTED:
        return _WEIGHTED[name](*case.log, **options)
    estimator, _, model = name.removesuffix("]").partition("[")
    q = case.model(model)
    if estimator == "dm":
        return dm(q, case.pi, **options)
    return _MODELLED[estimator](*case.log, case.action, q, case.pi, **options)
