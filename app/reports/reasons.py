"""Why figures of the arms' report are null."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from app.inference import Inference
from app.reports.shapes import ArmReport, ArmsReport
from bandits.drift_robust import BURN_IN
from bandits.sample_ratio import BURN_IN as FEWEST_CHOICES

__all__ = ["Scope", "reasons_of"]

_NO_OUTCOME: Final = "no outcome to learn from: none yet, or none within the memory"
_NO_MODEL: Final = "only the reward has a model"
_NOT_WHOLE: Final = "it covers all outcomes, not those since a moment: leave out `since`"


class Scope(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    is_reward: bool  # the metric is that which the policy learns from
    is_whole: bool  # all exposures, not only those since some moment

    @property
    def objection(self) -> str | None:
        """Why there are no honest figures at all."""
        return _NO_MODEL if not self.is_reward else None if self.is_whole else _NOT_WHOLE


def reasons_of(report: ArmsReport, inference: Inference | None, scope: Scope, *, control: str) -> dict[str, str]:
    """By JSON pointer, for each figure that is null.

    Args:
        report: the figures.
        inference: of the report's arms, if there can be any.
        scope: what was asked for.
        control: key of the control arm.
    """
    reasons = dict(_of_experiment(report, scope))
    for index, arm in enumerate(report.arms):
        causes = _of_beliefs(arm, scope) | _of_inference(arm, inference, index, scope, control=control)
        reasons |= {f"#/arms/{index}/{path}": why for path, why in causes.items() if _is_null(arm, path)}
    return reasons


def _of_experiment(report: ArmsReport, scope: Scope) -> Iterator[tuple[str, str]]:
    if report.value_remaining is None:
        no_data = all(arm.mean is None for arm in report.arms)
        not_positive = "the best arm's mean may be 0 or less, and nothing is a part of that"
        yield "#/value_remaining", _NO_MODEL if not scope.is_reward else _NO_OUTCOME if no_data else not_positive
    ratio = report.sample_ratio
    if ratio is None:
        unclear = "choices and probabilities do not add up: `croupier verify` says where"
        yield "#/sample_ratio", scope.objection or unclear
        return
    too_few = f"needs {FEWEST_CHOICES} choices in the present epoch, and more of arms with a small share"
    if ratio.ok is None:
        yield "#/sample_ratio/ok", too_few
    if ratio.statistic is None:
        yield "#/sample_ratio/statistic", too_few if ratio.ok is None else "an arm was chosen that could not be chosen"
    for arm, shares in ratio.arms.items():
        if shares.deviation is None:
            never = "its probability is 0"
            yield f"#/sample_ratio/arms/{arm}/deviation", too_few if shares.expected > 0 or ratio.ok is None else never


def _of_beliefs(arm: ArmReport, scope: Scope) -> dict[str, str]:
    no_belief = _NO_OUTCOME if scope.is_reward else _NO_MODEL
    no_contender = f"the arm is {arm.state}: it cannot be chosen" if scope.is_reward else _NO_MODEL
    return {
        "mean": no_belief,
        "interval": no_belief,
        "probability_best": no_contender,
        "expected_loss": no_contender,
        "share": "no exposures yet",
    }


def _of_inference(
    arm: ArmReport, inference: Inference | None, index: int, scope: Scope, *, control: str
) -> dict[str, str]:
    paths = ("honest_interval", "robust_mean", "robust_interval", "lift")
    if inference is None:
        return dict.fromkeys(paths, scope.objection or _NO_OUTCOME)
    has_outcomes = inference.outcomes[index] > 0
    alone = (
        "the others are compared with it" if arm.arm == control else "it and the control arm were never both eligible"
    )
    burning_in = f"needs {BURN_IN} rewarded outcomes, so far there are"
    of_both = "both arms need outcomes from when both were eligible"
    return {
        "honest_interval": "more outcomes are needed" if has_outcomes else "no outcome that counts yet",
        "robust_mean": f"{burning_in} {inference.rewarded[index]:.0f}",
        "robust_interval": f"{burning_in} {inference.rewarded[index]:.0f}",
        "lift": alone,
        "lift/mean": of_both,
        "lift/honest_interval": of_both,
        "lift/robust_interval": f"{burning_in} {inference.lift_rewarded[index]:.0f} of one of the two arms",
    }


def _is_null(arm: ArmReport, path: str) -> bool:
    """Whether a figure is null; not if what it is part of is."""
    name, _, part = path.partition("/")
    whole = getattr(arm, name)
    return getattr(whole, part) is None if part and whole is not None else not part and whole is None
