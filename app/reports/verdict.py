"""Is it safe to call a winner? Answered in words, from the arms' report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.reports.shapes import ArmReport, ArmsReport
from app.store.experiments import Experiment
from app.wording import percent, seconds, signed

__all__ = ["Finding", "Verdict", "leader_of", "verdict_of"]

Answer = Literal["yes", "not yet", "no"]
Grade = Literal["good", "open", "bad"]

_SURE: Final = 0.95
_LITTLE: Final = 0.01  # of its mean: what may still be gained is not worth waiting for
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that speaks for or against it."""

    grade: Grade
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and what it rests on."""

    answer: Answer
    winner: str | None  # of "yes"
    findings: tuple[Finding, ...]


def leader_of(report: ArmsReport) -> ArmReport | None:
    """The arm that is the most probable to be the best; None: nothing is believed yet."""
    known = [arm for arm in report.arms if arm.probability_best is not None and arm.mean is not None]
    return max(known, key=lambda arm: arm.probability_best or 0.0, default=None)


def verdict_of(report: ArmsReport, experiment: Experiment, firing: Mapping[str, int], now: datetime) -> Verdict:
    """Judges whether the leading arm can be called the winner.

    Args:
        report: of all outcomes of the reward.
        experiment: whose report it is.
        firing: how many of its alerts fire, by severity.
        now: this moment.
    """
    leader = leader_of(report)
    if leader is None:
        return Verdict(answer="not yet", winner=None, findings=(Finding(grade="open", text=_nothing(report)),))
    control = experiment.specification.control_arm
    findings = (
        _sample_ratio(report),
        *_evidence(report, leader, control),
        _season(experiment, now),
        _alerts(firing),
    )
    grades = {finding.grade for finding in findings}
    answer: Answer = "no" if "bad" in grades else "not yet" if "open" in grades else "yes"
    return Verdict(answer=answer, winner=leader.arm if answer == "yes" else None, findings=findings)


def _nothing(report: ArmsReport) -> str:
    if not any(arm.exposures for arm in report.arms):
        return "No exposures yet: ask for recommendations with this experiment's key."
    return "No outcome can be learned from yet: they count once the attribution window has passed."


def _sample_ratio(report: ArmsReport) -> Finding:
    ratio = report.sample_ratio
    if ratio is None or ratio.ok is None:
        why = report.unavailable.get("#/sample_ratio/ok") or report.unavailable.get("#/sample_ratio", "")
        return Finding(
            grade="open", text=f"Sample ratio: cannot be judged yet; it {why}." if why else "Sample ratio: –"
        )
    if not ratio.ok:
        return Finding(
            grade="bad",
            text="Sample-ratio mismatch: arms were not chosen as often as planned. Trust no figure before it is found.",
        )
    return Finding(grade="good", text="Arms were chosen as often as planned: no sample-ratio mismatch.")


def _evidence(report: ArmsReport, leader: ArmReport, control: str) -> Iterator[Finding]:
    best = leader.probability_best or 0.0
    grade: Grade = "good" if best >= _SURE else "open"
    yield Finding(
        grade=grade,
        text=f"{leader.arm} is the best arm with probability {percent(best)}; {percent(_SURE, 0)} would do.",
    )
    if report.value_remaining is not None:
        enough = report.value_remaining <= _LITTLE
        text = (
            f"Another arm may gain up to {percent(report.value_remaining)} of its mean; {percent(_LITTLE, 0)} would do."
        )
        yield Finding(grade="good" if enough else "open", text=text)
    yield _lift(report, leader, control)


def _lift(report: ArmsReport, leader: ArmReport, control: str) -> Finding:
    if leader.arm == control:
        others = [arm for arm in report.arms if arm.arm != control and arm.state == "active"]
        worse = sum(1 for arm in others if arm.lift and arm.lift.honest_interval and arm.lift.honest_interval[1] < 0)
        text = (
            f"The control arm leads; {worse} of {len(others)} others earn less, by intervals that hold at every look."
        )
        return Finding(grade="good" if worse == len(others) else "open", text=text)
    interval = leader.lift.honest_interval if leader.lift else None
    if interval is None:
        return Finding(grade="open", text=f"The lift of {leader.arm} over {control} cannot be told honestly yet.")
    ends = f"{signed(interval[0])} to {signed(interval[1])}"
    text = f"{leader.arm} − {control}: {ends}, by an interval that holds at every look"
    if interval[0] > 0:
        return Finding(grade="good", text=f"{text}: above 0.")
    return Finding(grade="open", text=f"{text}: 0 is within it.")


def _season(experiment: Experiment, now: datetime) -> Finding:
    """Behaviour differs between the days of a week: less than a whole one is a sample of some days."""
    age = now - experiment.created_at
    if age < _WEEK:
        ran = seconds(age.total_seconds())
        return Finding(grade="open", text=f"Seasonality: it has run for {ran}, less than a whole week.")
    return Finding(grade="good", text=f"It has run {age.days} days: every day of the week is in the figures.")


def _alerts(firing: Mapping[str, int]) -> Finding:
    count = sum(firing.values())
    if count:
        grade: Grade = "bad" if firing.get("page") else "open"
        return Finding(grade=grade, text=f"{count} alert{'s fire' if count > 1 else ' fires'}: see to that first.")
    return Finding(grade="good", text="No alert fires.")
