"""What a proxy is worth: adjusted correlations, the order of arms, and verdicts with few false alarms."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats

from monitoring.hierarchy import ArmOrders, Association, by_cells, by_units, compare_arms, judge
from monitoring.rank_correlation import Correlation

SEED = 5


def rng() -> np.random.Generator:
    """Of the bootstrap."""
    return np.random.default_rng(SEED)


def seen(interval: tuple[float, float] | None) -> Association:
    """An association with this adjusted interval."""
    return Association(99, Correlation(0.0, (-1.0, 1.0)), Correlation(0.0, interval))


def arms(n: int, *, same_best: bool = True) -> ArmOrders:
    """Orders of n arms."""
    return ArmOrders(tuple("abcdefgh"[:n]), tuple("abcdefgh"[:n]), same_best, same_best)


def test_units_that_come_often_do_not_make_a_proxy() -> None:
    """Visits alone correlate everything with everything; among units with as many decisions nothing is left.

    Given the visits both are independent: an interval of the adjusted figure that reaches beyond ±0.1 had to lie over
    5 standard errors (0.013) off, a chance below 1e-6.
    """
    made = np.random.default_rng(1)
    visits = made.geometric(0.2, 6000)
    found = by_units(
        made.binomial(visits, 0.2).astype(np.float64), made.binomial(visits, 0.1).astype(np.float64), visits, rng()
    )
    assert found.pairs == 6000
    assert found.plain.interval is not None
    assert found.adjusted.interval is not None
    assert found.plain.interval[0] > 0.25
    assert -0.1 < found.adjusted.interval[0] < found.adjusted.interval[1] < 0.1


def test_good_days_do_not_make_a_proxy() -> None:
    """Days move both metrics of all arms alike; the arms of one day are ranked the other way round."""
    made, arm = np.random.default_rng(2), np.arange(4.0)[:, None]
    day, noise = made.normal(0, 10, 30), made.normal(0, 0.1, (4, 30))
    found = by_cells(arm + day, noise - arm + day, rng())
    assert found.pairs == 120
    assert found.plain.rho is not None
    assert found.plain.rho > 0.8
    assert found.adjusted.rho == pytest.approx(-1)
    assert judge(seen((0.5, 0.6)), found, arms(4)).word == "contradicts"


def test_units_and_cells_without_both_metrics_are_left_out() -> None:
    """As if they were not there."""
    made = np.random.default_rng(3)
    proxy, business, visits = made.normal(size=(4, 20)), made.normal(size=(4, 20)), made.integers(1, 4, 80)
    proxy[1, 5], business[2, 7], business[:, 9] = np.nan, np.nan, np.nan
    has_both = ~np.isnan(proxy + business)
    whole = by_cells(proxy, business, rng())
    assert whole.pairs == 74
    assert whole.plain.rho == pytest.approx(scipy.stats.spearmanr(proxy[has_both], business[has_both]).statistic)
    rest = np.delete(proxy, 9, axis=1), np.delete(business, 9, axis=1)
    assert by_cells(*rest, rng()) == whole
    units = by_units(proxy.ravel(), business.ravel(), visits, rng())
    assert units == by_units(proxy[has_both], business[has_both], visits[has_both.ravel()], rng())


@pytest.mark.parametrize(
    ("n", "varied", "rho", "why"),
    [(29, 29, False, "needs 30 units"), (500, 9, True, "needs 10 units that differ"), (30, 29, True, "")],
)
def test_too_few_units_are_refused(n: int, varied: int, rho: object, why: str) -> None:
    """With the number there would have to be."""
    values = np.arange(float(n)) * (np.arange(n) >= n - varied)
    found = by_units(np.arange(float(n)), values, np.ones(n, np.int64), rng())
    assert (found.plain.rho is not None, found.adjusted.rho is not None) == (rho, rho)
    for correlation in (found.plain, found.adjusted):
        assert (correlation.interval is None) == bool(why)
        assert why in correlation.reasons.get("interval", "")


@pytest.mark.parametrize(
    ("shape", "rho", "why"),
    [((1, 9), False, "needs 10 cells"), ((2, 9), True, "needs 10 days"), ((2, 10), True, "")],
)
def test_too_few_cells_are_refused(shape: tuple[int, int], rho: object, why: str) -> None:
    """With the number there would have to be."""
    found = by_cells(np.random.default_rng(4).normal(size=shape), np.random.default_rng(5).normal(size=shape), rng())
    assert (found.plain.rho is not None, found.adjusted.rho is not None) == (rho, rho)
    assert (found.plain.interval is None) == bool(why)
    assert why in found.plain.reasons.get("interval", "")


def test_one_arm_has_no_rank_among_the_arms_of_its_day() -> None:
    """Over days there is a correlation, within them none."""
    found = by_cells(np.arange(20.0)[None], np.arange(20.0)[None], rng())
    assert found.plain.rho == pytest.approx(1)
    assert (found.adjusted.rho, {*found.adjusted.reasons}) == (None, {"rho", "interval"})


def test_arms_are_ordered_by_either_metric() -> None:
    """The best first; equals agree with equals only; an arm without both has no place."""
    business = np.array([1.0, 3.0, 2.0, np.nan])
    same = compare_arms("abcd", np.array([0.1, 0.9, 0.5, 0.7]), business)
    assert same == ArmOrders(("b", "c", "a"), ("b", "c", "a"), agrees=True, same_best=True)
    assert compare_arms("abcd", np.array([0.5, 0.9, 0.1, 0.7]), business).agrees is False
    assert compare_arms("abcd", np.array([0.5, 0.9, 0.1, 0.7]), business).same_best is True
    tied = compare_arms("abcd", np.array([0.1, 0.9, 0.9, 0.7]), business)
    assert (tied.by_proxy, tied.agrees, tied.same_best) == (("b", "c", "a"), False, False)
    alone = compare_arms("abcd", np.array([np.nan, 0.9, np.nan, 0.7]), business)
    assert alone == ArmOrders(("b",), ("b",), agrees=None, same_best=None)


@pytest.mark.parametrize(
    ("cells", "units", "n_arms", "same_best", "word"),
    [
        ((0.2, 0.9), (0.2, 0.3), 2, True, "trust"),
        ((0.2, 0.9), (0.2, 0.3), 2, False, "weak"),
        ((0.2, 0.9), (0.05, 0.3), 9, True, "weak"),
        ((0.2, 0.9), None, 4, True, "weak"),
        ((0.2, 0.9), None, 5, True, "trust"),
        ((0.1, 0.9), (0.2, 0.3), 5, True, "weak"),
        ((-0.9, 0.0), (-0.3, -0.2), 5, False, "weak"),
        ((-0.9, -0.1), None, 5, False, "weak"),
        ((-0.9, -0.2), (0.2, 0.3), 5, True, "contradicts"),
        (None, (-0.3, -0.2), 5, True, "contradicts"),
        (None, (0.2, 0.3), 5, True, "weak"),
        (None, (0.1, 0.3), 5, True, "unknown"),
        (None, None, 5, True, "unknown"),
    ],
)
def test_the_verdict_follows_the_rule(
    cells: tuple[float, float] | None,
    units: tuple[float, float] | None,
    n_arms: int,
    same_best: object,
    word: str,
) -> None:
    """The one of docs/quality.md; and it says why."""
    found = judge(seen(units), seen(cells), arms(n_arms, same_best=bool(same_best)))
    assert found.word == word
    assert found.why


def test_a_useless_proxy_is_seldom_taken_for_more() -> None:
    """Of 60 proxies that have nothing to do with the business metric but good days and visits.

    Were 3 % of them judged wrongly, more than 11 would have a probability below 1e-6.
    """
    made, words = np.random.default_rng(SEED), Counter[str]()
    for _ in range(60):
        day, visits = made.normal(size=14), made.geometric(0.3, 400)
        proxy, business = (day + made.normal(size=(4, 1)) * scale + made.normal(size=(4, 14)) for scale in (0, 1))
        units = by_units(
            made.binomial(visits, 0.3).astype(np.float64), made.binomial(visits, 0.2).astype(np.float64), visits, made
        )
        orders = compare_arms("abcd", proxy.mean(axis=1), business.mean(axis=1))
        words[judge(units, by_cells(proxy, business, made), orders).word] += 1
    assert words["trust"] + words["contradicts"] <= scipy.stats.binom.isf(1e-6, 60, 0.03) == 11
    assert words["weak"] > 40
