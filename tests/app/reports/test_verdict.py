"""Is it safe to call a winner?"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.reports import ArmReport, ArmsReport, Lift, Outcomes, SampleRatioReport
from app.reports.verdict import verdict_of
from app.store.experiments import Experiment
from tests.app.building import specification

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EXPERIMENT = Experiment(
    key="home",
    specification=specification(),
    state="running",
    version=1,
    epoch=1,
    allocation=9,
    salt=b"",
    created_at=NOW - timedelta(days=10),
    updated_at=NOW,
)


def arm(key: str, best: float | None, interval: tuple[float, float] | None) -> ArmReport:
    """An arm of which this is believed, and whose lift lies in there."""
    return ArmReport(
        arm=key,
        state="active",
        propensity=0.5,
        decisions=1000,
        exposures=1000,
        fallbacks=0,
        mature=1000,
        rewards=100,
        mean=None if best is None else 0.1,
        interval=None,
        probability_best=best,
        expected_loss=0.0,
        share=0.5,
        outcomes=Outcomes(pending=0, defaulted=0, observed=0, corrected=0, rejected=0),
        lift=None if interval is None else Lift(mean=sum(interval) / 2, honest_interval=interval, robust_interval=None),
    )


REPORT = ArmsReport(
    experiment="home",
    allocation=9,
    data_as_of=NOW,
    policy="thompson_sampling",
    state="running",
    metric="click",
    arms=[arm("a", 0.01, None), arm("b", 0.99, (0.01, 0.03))],
    value_remaining=0.001,
    sample_ratio=SampleRatioReport(ok=True, statistic=0.1, arms={}),
    unavailable={},
)


def test_a_winner_is_called_when_everything_speaks_for_it() -> None:
    """By name, and each finding is good."""
    verdict = verdict_of(REPORT, EXPERIMENT, {}, NOW)
    assert (verdict.answer, verdict.winner) == ("yes", "b")
    assert {finding.grade for finding in verdict.findings} == {"good"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": [arm("a", 0.1, None), arm("b", 0.9, (0.01, 0.03))]}, "probability 90.0 %"),
        ({"arms": [arm("a", 0.01, None), arm("b", 0.99, (-0.01, 0.03))]}, "0 is within it"),
        ({"arms": [arm("a", 0.01, None), arm("b", 0.99, None)]}, "cannot be told honestly"),
        ({"arms": [arm("a", 0.99, None), arm("b", 0.01, (-0.03, 0.01))]}, "0 of 1 others earn less"),
        ({"value_remaining": 0.2}, "up to 20.0 %"),
        ({"sample_ratio": None}, "Sample ratio"),
        ({"arms": [arm("a", None, None)]}, "count once the attribution window"),
    ],
)
def test_what_is_open_is_said(changes: Mapping[str, object], words: str) -> None:
    """Then no winner is called, and the finding says what is missing."""
    verdict = verdict_of(msgspec.structs.replace(REPORT, **changes), EXPERIMENT, {}, NOW)
    assert (verdict.answer, verdict.winner) == ("not yet", None)
    assert [words in finding.text for finding in verdict.findings if finding.grade == "open"] == [True]


def test_less_than_a_week_is_not_enough() -> None:
    """Days of a week differ."""
    young = replace(EXPERIMENT, created_at=NOW - timedelta(days=6))
    verdict = verdict_of(REPORT, young, {}, NOW)
    assert verdict.answer == "not yet"
    assert any("Seasonality" in finding.text for finding in verdict.findings if finding.grade == "open")


def test_a_mismatch_or_a_page_forbids_it() -> None:
    """No figure can be trusted; a ticket only delays it."""
    mismatch = msgspec.structs.replace(REPORT, sample_ratio=SampleRatioReport(ok=False, statistic=3.0, arms={}))
    assert verdict_of(mismatch, EXPERIMENT, {}, NOW).answer == "no"
    assert verdict_of(REPORT, EXPERIMENT, {"page": 1}, NOW).answer == "no"
    assert verdict_of(REPORT, EXPERIMENT, {"ticket": 1}, NOW).answer == "not yet"
