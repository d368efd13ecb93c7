"""Which epochs the honest figures of an arm rest on, and what is said when there are none."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.inference import check_shares, infer
from app.specification import Reward, Specification
from app.store.experiments import Experiment
from app.store.inference import EpochSums
from bandits.inference import BetaMixture
from bandits.statistics import ArmStatistics
from tests.app.building import specification

NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def experiment(spec: Specification, epoch: int = 2) -> Experiment:
    """An experiment in an epoch."""
    return Experiment(
        key="home",
        specification=spec,
        state="running",
        version=1,
        epoch=epoch,
        allocation=1,
        salt=b"",
        created_at=NEVER,
        updated_at=NEVER,
    )


def sums(epoch: int, arm: str, **figures: Any) -> EpochSums:
    """An arm's sums in an epoch: 1,000 exposures, 300 of them rewarded, of 2,000 of both arms."""
    defaults: dict[str, Any] = {
        "epoch": epoch,
        "arm": arm,
        "is_current": True,
        "control": "a",
        "chosen": 1000,
        "expected": 1000,
        "variance": 500,
        "exposures": 1000,
        "observed": 300,
        "sum": 300,
        "sum_of_squares": 300,
        "eligible": 2000,
        "score": 600,
        "score_squares": 1200,
        "paired": 0 if arm == "a" else 2000,
        "contrast": 0 if arm == "a" else 20,
        "contrast_squares": 0 if arm == "a" else 2500,
    }
    return EpochSums(**{**defaults, **figures})


SPEC = specification("a", "b")


def test_an_arm_has_the_epochs_of_its_present_version() -> None:
    """Outcomes of an earlier recommender, or of another meaning of the reward, are not in its interval."""
    epochs = [sums(1, "a"), sums(1, "b", is_current=False), sums(2, "a"), sums(2, "b")]
    found = infer(experiment(SPEC), ["a", "b"], epochs, level=0.95)
    assert found.outcomes.tolist() == [2000, 1000]
    own = ArmStatistics(n=[2000, 1000], sum=[600, 300], sum_of_squares=[600, 300])  # type: ignore[arg-type]
    assert found.honest.lower == pytest.approx(BetaMixture().means(own, alpha=0.05).lower)


def test_lifts_are_over_epochs_in_which_both_could_be_chosen() -> None:
    """The control's outcomes of before the arm was there, or while it was drained, do not count in its lift."""
    epochs = [
        sums(1, "a", sum=900),
        sums(2, "a"),
        sums(2, "b"),
        sums(3, "a", sum=900),
        sums(3, "b", expected=0, chosen=0, exposures=0, observed=0, sum=0, sum_of_squares=0, paired=0, contrast=0),
    ]
    found = infer(experiment(SPEC, 3), ["a", "b"], epochs, level=0.95)
    assert found.lift_mean[1] == pytest.approx(0)
    assert found.has_pair.tolist() == [False, True]
    assert np.isnan(found.lift_mean[0])


def test_robust_lifts_are_over_epochs_with_the_present_control() -> None:
    """Differences from another arm are no lifts over this one; honest lifts need no stored differences."""
    epochs = [sums(1, "a", control="b"), sums(1, "b", control="b"), sums(2, "a"), sums(2, "b", contrast=100)]
    found = infer(experiment(SPEC), ["a", "b"], epochs, level=0.95)
    middle = (found.lift_robust.lower[1] + found.lift_robust.upper[1]) / 2
    assert middle == pytest.approx(100 / 2000)
    assert found.lift_rewarded[1] == 300
    assert found.rewarded.tolist() == [600, 600]


def test_robust_figures_leave_out_epochs_that_began_without_them() -> None:
    """Of epochs from before outcomes were counted by allocation only part is known: the honest figures have them."""
    epochs = [sums(epoch, arm, control=None) for epoch in (1, 2) for arm in "ab"]
    found = infer(experiment(SPEC), ["a", "b"], epochs, level=0.95)
    assert found.outcomes.tolist() == [2000, 2000]
    assert found.rewarded.tolist() == [0, 0]
    assert np.isnan([found.robust_mean, found.robust.lower, found.lift_robust.upper]).all()


@pytest.mark.parametrize(
    ("reward", "observed", "rewarded"),
    [
        (Reward(), (300, 250, 250), 250),  # 50 outcomes were taken back to 0
        (Reward(default=1), (300, 100, 100), 200),
        (Reward(model="poisson", aggregation="sum"), (300, 300, 900), 100),
        (Reward(model="gaussian", missing="explicit"), (300, 1, 500), 300),
    ],
)
def test_rewarded_outcomes_are_not_overstated(reward: Reward, observed: tuple[int, int, int], rewarded: float) -> None:
    """Of outcomes with different values at least (Σo)²/Σo² are not the usual one."""
    spec = specification("a", "b", reward=reward)
    figures = dict(zip(("observed", "sum", "sum_of_squares"), observed, strict=True))
    found = infer(experiment(spec), ["a"], [sums(2, "a", **figures)], level=0.95)
    assert found.rewarded.tolist() == pytest.approx([rewarded])


def test_the_sample_ratio_is_of_the_present_epoch() -> None:
    """What was lost before the last change of the experiment is over."""
    epochs = [sums(1, "a", chosen=1900), sums(1, "b", chosen=100), sums(2, "a", chosen=1010), sums(2, "b", chosen=990)]
    assert check_shares(experiment(SPEC, 2), epochs).result.ok
    assert check_shares(experiment(SPEC, 1), epochs).result.ok is False


def test_an_epoch_without_choices_cannot_be_judged() -> None:
    """All arms are there, with nothing."""
    found = check_shares(experiment(SPEC, 7), [])
    assert (found.arms, found.result.ok) == (("a", "b"), None)
