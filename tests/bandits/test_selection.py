from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bandits.beta import BetaPosterior
from bandits.selection import HashArray, StickyRace, cumulative, sticky_choice, uniform_choice, unit_interval
from bandits.statistics import FloatArray
from bandits.winning import probability_best

SHARES = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
UNITS = 1_000_000

UNIT_INTERVAL = 0.579915636979938
WINNERS = [1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 2, 1, 0, 2, 1, 1]


def _race(probabilities: FloatArray = SHARES, experiment: str = "home", salt: bytes = b"salt") -> StickyRace:
    arms = [f"arm{arm}" for arm in range(len(probabilities))]
    return StickyRace.of(salt=salt, experiment=experiment, arms=arms, probabilities=probabilities)


def _winners(race: StickyRace, unit_hashes: HashArray) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    blocks = np.array_split(unit_hashes[:, None], 20)
    return np.concatenate([race.times(block).argmin(axis=1) for block in blocks])


def _hashes(race: StickyRace, n_units: int) -> HashArray:
    return np.fromiter((race.unit_hash(f"user-{unit}") for unit in range(n_units)), np.uint64, n_units)


def _chi_square_bar(degrees: int) -> float:
    """Exceeded with probability 1e-7 when frequencies are as predicted."""
    return float(scipy.stats.chi2.isf(1e-7, degrees))


@pytest.fixture(scope="module")
def hashes() -> HashArray:
    """Hashes of a million units in the experiment "home"."""
    return _hashes(_race(), UNITS)


PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda p: sum(p) > 1e-3)


@given(weights=PROBABILITIES, u=st.floats(0, 1, exclude_max=True))
def test_uniform_choice_inverts_the_cumulative_sum(weights: list[float], u: float) -> None:
    """The chosen arm has a positive probability, and is the first whose running sum exceeds u."""
    probabilities = np.array(weights) / np.sum(weights)
    sums = cumulative(probabilities)
    arm = uniform_choice(sums, u)
    assert probabilities[arm] > 0
    assert sums[arm] > u
    assert arm == 0 or sums[arm - 1] <= u


@pytest.mark.parametrize("n_arms", [1, 3, 10, 1000])
def test_largest_uniform_number_never_falls_behind_the_end(n_arms: int) -> None:
    """Rounding in the sum neither raises nor picks the arms of probability 0 at the end."""
    probabilities = np.append(np.full(n_arms, 1 / n_arms) * (1 - 5e-10), [0.0, 0.0])
    assert uniform_choice(cumulative(probabilities), math.nextafter(1, 0)) == n_arms - 1


def test_arms_of_probability_0_are_skipped_at_their_edge() -> None:
    """Exactly on a running sum, the next arm with a positive probability is chosen."""
    sums = cumulative(np.array([0.0, 0.5, 0.0, 0.5]))
    assert [uniform_choice(sums, u) for u in (0.0, 0.25, 0.5, 0.75)] == [1, 1, 3, 3]


@pytest.mark.parametrize("probabilities", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
def test_improper_probabilities_are_refused(probabilities: list[float]) -> None:
    """Probabilities that are negative, not numbers or do not sum to 1 are refused before any choice."""
    with pytest.raises(ValueError, match="sum to 1"):
        cumulative(np.array(probabilities))
    with pytest.raises(ValueError, match="sum to 1"):
        _race(np.array(probabilities))


def test_a_race_needs_one_probability_per_arm() -> None:
    """A race of two arms with one probability is refused."""
    with pytest.raises(ValueError, match="2 arms need one probability each, got 1"):
        StickyRace.of(salt=b"", experiment="x", arms=["a", "b"], probabilities=np.ones(1))


def test_unit_interval_is_uniform() -> None:
    """Hashes of consecutive names fill 100 bins equally; false alarm 1e-7."""
    numbers = [unit_interval(b"salt", "experiment", str(index)) for index in range(200_000)]
    counts = np.bincount((np.array(numbers) * 100).astype(int), minlength=100)
    assert counts.size == 100
    assert np.sum((counts - 2000) ** 2 / 2000) < _chi_square_bar(99)


def test_unit_interval_depends_on_where_parts_end() -> None:
    """The same letters in other parts are another input, and bytes equal their text."""
    assert unit_interval(b"s", "ab", "c") != unit_interval(b"s", "a", "bc")
    assert unit_interval(b"s", "ab") != unit_interval(b"sa", "b")
    assert unit_interval(b"s", "ab") == unit_interval(b"s", b"ab")


def test_hashes_never_change() -> None:
    """Units keep their arms across releases: these values are a promise."""
    assert unit_interval(b"salt", "home", "user-1") == UNIT_INTERVAL
    assert [_race().choose(f"user-{unit}") for unit in range(20)] == WINNERS


def test_sticky_shares_are_the_probabilities(hashes: HashArray) -> None:
    """Over a million units each arm gets its share, and an arm of probability 0 nobody; false alarm 1e-7."""
    counts = np.bincount(_winners(_race(), hashes), minlength=5)
    expected = SHARES[:4] * UNITS
    assert counts[4] == 0
    assert np.sum((counts[:4] - expected) ** 2 / expected) < _chi_square_bar(3)


def test_sticky_shares_of_many_equal_arms(hashes: HashArray) -> None:
    """200 arms share 200,000 units equally; false alarm 1e-7."""
    counts = np.bincount(_winners(_race(np.full(200, 1 / 200)), hashes[:200_000]), minlength=200)
    assert np.sum((counts - 1000) ** 2 / 1000) < _chi_square_bar(199)


def test_sticky_choice_is_the_race_of_one_unit(hashes: HashArray) -> None:
    """Choosing for one unit agrees with the race over an array of units, and with itself."""
    race = _race()
    chosen = [sticky_choice(race, f"user-{unit}") for unit in range(300)]
    assert chosen == _winners(race, hashes[:300]).tolist()
    assert chosen == [_race().choose(f"user-{unit}") for unit in range(300)]


@pytest.mark.parametrize("other", [_race(experiment="cart"), _race(salt=b"pepper")])
def test_experiments_are_independent(hashes: HashArray, other: StickyRace) -> None:
    """Arms in two experiments, or under two salts, are independent over 200,000 units; false alarm 1e-7."""
    first = _winners(_race(), hashes[:200_000])
    table = np.zeros((5, 5))
    np.add.at(table, (first, _winners(other, _hashes(other, 200_000))), 1)
    expected = 200_000 * np.outer(SHARES, SHARES)[:4, :4]
    assert np.sum((table[:4, :4] - expected) ** 2 / expected) < _chi_square_bar(15)


def test_units_move_only_to_arms_that_grew_by_a_larger_factor(hashes: HashArray) -> None:
    """A unit changes from arm i to arm j only if p′_j/p_j > p′_i/p_i."""
    before, after = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.2, 0.35, 0.15, 0.3])
    first, second = _winners(_race(before), hashes), _winners(_race(after), hashes)
    moved = first != second
    factor = after / before
    assert moved.any()
    assert np.all(factor[second[moved]] > factor[first[moved]])


def test_units_move_only_to_the_one_arm_that_gained(hashes: HashArray) -> None:
    """When one arm gains and the others keep their proportions, units move to it and nowhere else."""
    before = np.array([0.4, 0.3, 0.2, 0.1])
    after = np.append(before[:3] / 0.9 * 0.75, 0.25)
    first, second = _winners(_race(before), hashes), _winners(_race(after), hashes)
    moved = first != second
    assert np.all(second[moved] == 3)
    assert abs(moved.mean() - 0.15) < 5.5 * math.sqrt(0.15 * 0.85 / UNITS)


def _staying(before: FloatArray, after: FloatArray) -> float:
    """Moulton and Jiang (2018): Σ_i 1 / Σ_j max(p_j/p_i, p′_j/p′_i)."""
    ratios = np.maximum(before / before[:, None], after / after[:, None])
    return float(np.sum(1 / ratios.sum(axis=1)))


def test_as_many_units_stay_as_theory_allows(hashes: HashArray) -> None:
    """The part of units that keep their arm is Moulton and Jiang's optimum; false alarm 4e-8."""
    before, after = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.2, 0.35, 0.15, 0.3])
    stayed = np.mean(_winners(_race(before), hashes) == _winners(_race(after), hashes))
    expected = _staying(before, after)
    assert abs(stayed - expected) < 5.5 * math.sqrt(expected * (1 - expected) / UNITS)


@given(weights=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=20))
def test_movement_is_at_most_twice_the_least_possible(weights: list[tuple[float, float]]) -> None:
    """No change moves more than 2d/(1 + d) of the units, d the total variation distance."""
    before, after = (np.array(side) / sum(side) for side in zip(*weights, strict=True))
    distance = float(np.abs(before - after).sum()) / 2
    assert 1 - _staying(before, after) <= 2 * distance / (1 + distance) + 1e-12


@pytest.mark.parametrize("n_arms", [2, 5, 10])
def test_movement_while_learning_is_near_the_least_possible(n_arms: int) -> None:
    """Over the updates of Thompson sampling, units that move are at most 1.25 × the distance on average."""
    rng = np.random.default_rng(n_arms)
    rate, n = rng.uniform(0.03, 0.08, n_arms), np.full(n_arms, 100.0)
    rewards = rng.binomial(100, rate).astype(np.float64)
    moved, distance, before = 0.0, 0.0, np.full(n_arms, 1 / n_arms)
    for _ in range(100):
        after = 0.01 + (1 - 0.01 * n_arms) * probability_best(BetaPosterior(1 + rewards, 1 + n - rewards))
        moved += 1 - _staying(before, after)
        distance += float(np.abs(before - after).sum()) / 2
        dealt = rng.multinomial(500, after)
        n, rewards, before = n + dealt, rewards + rng.binomial(dealt, rate), after
    assert moved <= 1.25 * distance


LIVE_UNITS = np.random.default_rng(1).integers(0, 2**64, 4000, dtype=np.uint64)
WEIGHTS = st.lists(st.floats(0.01, 1), min_size=2, max_size=8)


def _assigned(probabilities: dict[str, float]) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """The arm of each of 4,000 units."""
    shares = np.array(list(probabilities.values()))
    race = StickyRace.of(salt=b"salt", experiment="home", arms=list(probabilities), probabilities=shares / shares.sum())
    return np.array(list(probabilities))[_winners(race, LIVE_UNITS)]


@given(weights=WEIGHTS, gained=st.floats(0.01, 0.9), first=st.booleans())
def test_an_arm_that_is_added_takes_units_and_moves_no_others(weights: list[float], gained: float, first: bool) -> None:  # noqa: FBT001
    """Wherever it stands in the list, while the others keep their proportions."""
    old = {f"arm{n}": weight for n, weight in enumerate(weights)}
    new = {"new": gained * sum(weights) / (1 - gained)}
    before, after = _assigned(old), _assigned({**new, **old} if first else {**old, **new})
    assert set(after[before != after]) <= {"new"}


@given(weights=WEIGHTS, removed=st.booleans())
def test_an_arm_that_is_drained_gives_units_up_and_moves_no_others(weights: list[float], removed: bool) -> None:  # noqa: FBT001
    """Whether its share becomes 0 or it leaves the list, while the others keep their proportions."""
    old = {f"arm{n}": weight for n, weight in enumerate(weights)}
    rest = {arm: weight for arm, weight in old.items() if arm != "arm0"}
    before, after = _assigned(old), _assigned(rest if removed else {"arm0": 0.0, **rest})
    assert np.array_equal(before != after, before == "arm0")


@given(weights=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=8))
def test_units_move_towards_arms_that_gained_more(weights: list[tuple[float, float]]) -> None:
    """Of any two allocations: who leaves arm i for arm j does so only if p′_j/p_j > p′_i/p_i."""
    old, new = ({f"arm{n}": pair[side] for n, pair in enumerate(weights)} for side in (0, 1))
    factor = {arm: new[arm] / old[arm] for arm in old}
    before, after = _assigned(old), _assigned(new)
    for left, reached in set(zip(before.tolist(), after.tolist(), strict=True)):
        assert left == reached or factor[reached] > factor[left]
