"""The estimators: closed forms, properties, unbiasedness, and what they refuse."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.estimates import Estimate
from bandits.off_policy import clipped_ips, dm, dr, dros, ips, sndr, snips, switch_dr

Floats = npt.NDArray[np.float64]

REWARD, PROPENSITY, TARGET = [1.0, 0.0, 1.0, 0.0], [0.5, 0.25, 0.2, 0.5], [0.25, 0.5, 0.6, 0.0]
ACTION, Q = [0, 1, 0, 1], [[0.4, 0.2]] * 4
PI = [[0.25, 0.75], [0.5, 0.5], [0.6, 0.4], [1.0, 0.0]]
# So w = 0.5, 2, 3, 0; Σ_a π q̂ = 0.25, 0.3, 0.32, 0.4; r − q̂ = 0.6, −0.2, 0.6, −0.2.
BASE = 1.27 / 4

_MODELLED: list[Callable[..., Estimate]] = [dr, sndr, switch_dr, dros]


@st.composite
def logs(draw: st.DrawFn) -> tuple[Floats, Floats, Floats]:
    """Reward, propensity and target of 2 to 30 rows; at least one has weight."""
    size = draw(st.integers(2, 30))
    rewards = draw(st.lists(st.floats(-100, 100), min_size=size, max_size=size))
    propensities = draw(st.lists(st.floats(0.001, 1), min_size=size, max_size=size))
    targets = draw(st.lists(st.floats(0.001, 1), min_size=size, max_size=size))
    return np.array(rewards), np.array(propensities), np.array(targets)


@pytest.mark.parametrize(
    ("estimate", "value"),
    [
        (ips(REWARD, PROPENSITY, TARGET), 3.5 / 4),
        (clipped_ips(REWARD, PROPENSITY, TARGET, clip=2), 2.5 / 4),
        (snips(REWARD, PROPENSITY, TARGET), 3.5 / 5.5),
        (dm(Q, PI), BASE),
        (dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI), BASE + 1.7 / 4),
        (dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, clip=2), BASE + 1.1 / 4),
        (sndr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI), BASE + 1.7 / 5.5),
        (switch_dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, threshold=2), BASE - 0.1 / 4),
        (dros(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, shrinkage=1), BASE + (0.4 * 0.6 - 0.4 * 0.2 + 0.3 * 0.6) / 4),
    ],
    ids=["ips", "clipped_ips", "snips", "dm", "dr", "dr_clipped", "sndr", "switch_dr", "dros"],
)
def test_closed_forms(estimate: Estimate, value: float) -> None:
    """Each estimator of four rows is what one works out by hand."""
    assert estimate.value == pytest.approx(value, rel=1e-14)


def test_diagnostics_closed_form() -> None:
    """Weights 0.5, 2, 3 and 0: worth 5.5²/13.25 rows, the largest is 3, and a quarter says nothing."""
    estimate = ips(REWARD, PROPENSITY, TARGET)
    assert estimate.effective_sample_size == pytest.approx(5.5**2 / 13.25, rel=1e-14)
    assert estimate.max_weight == pytest.approx(3)
    assert estimate.zero_weight_share == 0.25
    assert dm(Q, PI).effective_sample_size is None
    assert switch_dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, threshold=2).max_weight == 2


def test_standard_errors_closed_form() -> None:
    """A mean's is s/√n; a ratio's is that of the delta method."""
    terms = np.array([0.5, 0, 3, 0])
    assert ips(REWARD, PROPENSITY, TARGET).standard_error == pytest.approx(terms.std(ddof=1) / 2, rel=1e-14)
    value, weights = 3.5 / 5.5, np.array([0.5, 2, 3, 0])
    error = math.sqrt(((weights * (np.array(REWARD) - value)) ** 2).sum()) / 5.5
    assert snips(REWARD, PROPENSITY, TARGET).standard_error == pytest.approx(error, rel=1e-14)


@given(logs())
def test_evaluating_the_logging_policy_gives_the_mean_reward(log: tuple[Floats, Floats, Floats]) -> None:
    """With target = propensity every weight is 1, and all rows count."""
    reward, propensity, _ = log
    for estimator in (ips, clipped_ips, snips):
        estimate = estimator(reward, propensity, propensity)
        assert estimate.value == pytest.approx(reward.mean(), rel=1e-9, abs=1e-9)
        assert estimate.effective_sample_size == pytest.approx(reward.size)


@given(logs())
def test_snips_stays_within_the_rewards(log: tuple[Floats, Floats, Floats]) -> None:
    """It is a weighted mean."""
    reward, propensity, target = log
    assert reward.min() - 1e-9 <= snips(reward, propensity, target).value <= reward.max() + 1e-9


@given(logs(), st.floats(-1000, 1000))
def test_snips_moves_with_the_rewards(log: tuple[Floats, Floats, Floats], shift: float) -> None:
    """Adding a constant to each reward adds it to the estimate, which IPS does not promise."""
    reward, propensity, target = log
    before, after = snips(reward, propensity, target), snips(reward + shift, propensity, target)
    assert after.value == pytest.approx(before.value + shift, abs=1e-8)
    assert after.standard_error == pytest.approx(before.standard_error, abs=1e-8)


@given(logs())
def test_effective_rows_lie_between_1_and_n(log: tuple[Floats, Floats, Floats]) -> None:
    """And the largest weight is one of the weights."""
    reward, propensity, target = log
    estimate = ips(reward, propensity, target)
    assert estimate.effective_sample_size is not None
    assert 1 - 1e-9 <= estimate.effective_sample_size <= reward.size * (1 + 1e-9)
    assert estimate.max_weight == (target / propensity).max()


@given(logs(), st.floats(-5, 5))
def test_doubly_robust_limits(log: tuple[Floats, Floats, Floats], constant: float) -> None:
    """A model that says 0 leaves IPS; one that is always right leaves the direct method, whatever the weights."""
    reward, propensity, target = log
    pi = np.stack([target, 1 - target], axis=1)
    action, zero = np.zeros(reward.size, dtype=int), np.zeros((reward.size, 2))
    assert dr(reward, propensity, target, action, zero, pi).value == pytest.approx(
        ips(reward, propensity, target).value, rel=1e-12
    )
    always, right = np.full(reward.size, constant), np.full((reward.size, 2), constant)
    for estimator in _MODELLED:
        estimate = estimator(always, propensity, target, action, right, pi)
        assert estimate.value == pytest.approx(constant, abs=1e-9)
        assert estimate.standard_error == pytest.approx(0, abs=1e-9)


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(log: tuple[Floats, Floats, Floats], random: Any) -> None:
    """A permutation of the rows leaves value and standard error."""
    order = list(range(log[0].size))
    random.shuffle(order)
    for estimator in (ips, snips):
        before, after = estimator(*log), estimator(*(column[order] for column in log))
        assert after.value == pytest.approx(before.value, rel=1e-9, abs=1e-9)
        assert after.standard_error == pytest.approx(before.standard_error, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("estimator", ["ips", "dr", "snips", "sndr"])
def test_unbiased_in_simulation(estimator: str) -> None:
    """Over 2,000 logs of 400 rows the mean estimate hits the truth within 5 of its standard errors.

    Contexts change both policies and rewards, and the reward model is wrong. False alarms: 6e-7 each for IPS and
    DR. The ratios have a bias of order 1/n, far below their bar.
    """
    rng = np.random.default_rng(20261124)
    values = np.array([_simulated(rng, 400)[estimator] for _ in range(2000)])
    truth = 0.5 * (0.7 * 0.1 + 0.3 * 0.5) + 0.5 * (0.2 * 0.6 + 0.8 * 0.3)
    assert abs(values.mean() - truth) < 5 * values.std() / math.sqrt(values.size)
    # The test can fail: without weights the answer is the logging policy's, 40 standard errors away.
    naive = 0.5 * (0.2 * 0.1 + 0.8 * 0.5) + 0.5 * (0.5 * 0.6 + 0.5 * 0.3)
    assert abs(naive - truth) > 40 * values.std() / math.sqrt(values.size)


def _simulated(rng: np.random.Generator, n: int) -> dict[str, float]:
    """Two contexts, two arms: estimates from one log."""
    means, logging, play = np.array([[0.1, 0.5], [0.6, 0.3]]), np.array([0.2, 0.5]), np.array([0.7, 0.2])
    context = rng.integers(0, 2, n)
    action = (rng.random(n) >= logging[context]).astype(int)
    reward = (rng.random(n) < means[context, action]).astype(float)
    pi = np.stack([play[context], 1 - play[context]], axis=1)
    propensity = np.where(action == 0, logging[context], 1 - logging[context])
    target, q = pi[np.arange(n), action], np.tile([0.2, 0.35], (n, 1))
    return {
        "ips": ips(reward, propensity, target).value,
        "snips": snips(reward, propensity, target).value,
        "dr": dr(reward, propensity, target, action, q, pi).value,
        "sndr": sndr(reward, propensity, target, action, q, pi).value,
    }


def test_one_row_tells_nothing_about_its_spread() -> None:
    """Its value is given, and the interval is everything."""
    estimate = ips([1.0], [0.5], [0.25])
    assert (estimate.value, estimate.standard_error) == (0.5, math.inf)
    assert estimate.interval == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": [1.0]}, "one entry per row is needed, got lengths {'reward': 1, 'propensity': 4, 'target': 4}"),
        ({"reward": []}, r"reward must have shape \(n,\) with n at least 1, got \(0,\)"),
        ({"reward": [[1.0]]}, r"reward must have shape \(n,\)"),
        ({"reward": [1, math.nan, 0, 0]}, "reward of row 1 is nan: it must be a finite number"),
        ({"propensity": [0.5, 0.5, 0.0, 0.5]}, "propensity of row 2 is 0: a logged arm had a probability above 0"),
        ({"propensity": [0.5, 0.5, 1.5, 0.5]}, "propensity of row 2 is 1.5: a probability lies between 0 and 1"),
        ({"propensity": [1e-320, 1, 1, 1]}, "propensity of row 0 is 9.99989e-321: too small to divide by"),
        ({"target": [-0.1, 0.5, 0.6, 0]}, "target of row 0 is -0.1"),
        ({"target": [0.3, 0.5, 0.6, 0]}, "target of row 0 is 0.3: it must equal pi at the logged arm"),
        ({"action": [0, 1, 2, 1]}, "action of row 2 is 2: arms are numbered 0 to 1"),
        ({"action": [0.0, 1.0, 0.0, 1.0]}, "action must hold integers"),
        ({"action": [0, 1]}, "got lengths"),
        ({"q": [[0.4, 0.2]]}, r"q and pi must both have shape \(n, n_arms\), got \(1, 2\) and \(4, 2\)"),
        ({"q": [0.4, 0.2]}, r"q must have shape \(n, n_arms\), got \(2,\)"),
        ({"q": [[math.inf, 0]] * 4}, "q holds a value that is not a finite number"),
        ({"pi": [[0.25, 0.25], *PI[1:]]}, "the sum of pi of row 0 is 0.5: each row is a distribution"),
        ({"pi": [[1.25, -0.25], *PI[1:]]}, "pi holds -0.25; probabilities are not negative"),
    ],
)
@pytest.mark.parametrize("estimator", _MODELLED)
def test_bad_input_is_refused(estimator: Callable[..., Estimate], change: dict[str, Any], message: str) -> None:
    """The message says which argument, which row, which value, and what it should be."""
    log = {"reward": REWARD, "propensity": PROPENSITY, "target": TARGET, "action": ACTION, "q": Q, "pi": PI}
    with pytest.raises(ValueError, match=message):
        estimator(**(log | change))


def test_nothing_to_normalise_by_is_refused() -> None:
    """A target that never plays what was logged has no self-normalised estimate."""
    with pytest.raises(ValueError, match="every weight is 0"):
        snips([1.0, 0.0], [0.5, 0.5], [0.0, 0.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: clipped_ips(REWARD, PROPENSITY, TARGET, clip=0),
        lambda: dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, clip=math.nan),
        lambda: switch_dr(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, threshold=-1),
        lambda: dros(REWARD, PROPENSITY, TARGET, ACTION, Q, PI, shrinkage=0),
    ],
)
def test_bars_on_weights_are_positive(call: Callable[[], Estimate]) -> None:
    """A clip, threshold or shrinkage of 0 or less is refused."""
    with pytest.raises(ValueError, match="must be above 0"):
        call()
