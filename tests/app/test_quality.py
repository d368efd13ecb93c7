"""Model quality as metrics: the figures are those of the arms page."""

from datetime import timedelta

import pytest

from app import learner
from app.quality import note_quality, regret_of
from app.reports import arms_report
from app.store.database import Database
from monitoring.meter import Meter
from tests.app.building import EAGER, EXPLICIT, decision, matched, now, put, record, specification, write


def figures(meter: Meter) -> dict[tuple[str, ...], float]:
    """What was noted, by instrument and labels."""
    seen: dict[tuple[str, ...], float] = {}
    meter.read(lambda every: seen.update({(s.instrument.name, *s.labels): s.value for s in every}))
    return seen


def _with_outcomes(database: Database, key: str) -> None:
    """An experiment in which arm "a" was shown 30 times with 15 rewards, and "b" 10 times with none."""
    put(database, key, specification("a", "b", reward=EXPLICIT, policy=EAGER))
    rows = [decision(key, arm=arm) for arm, count in (("a", 30), ("b", 10)) for _ in range(count)]
    record(database, rows)
    write(database, [matched(row, float(row.arm == "a" and index % 2)) for index, row in enumerate(rows)])
    learner.learn_once(database, key, now() + timedelta(seconds=2))


def test_the_figures_are_those_of_the_arms_page(database: Database) -> None:
    """Propensity, share, mean and P(best) of each arm; the data's age; the regret by its formula."""
    _with_outcomes(database, "home")
    meter = Meter()
    note_quality(database, meter, now())
    seen, report = figures(meter), arms_report(database, "home", now())
    for arm in report.arms:
        assert seen["croupier.arm.propensity", "home", arm.arm] == arm.propensity
        assert seen["croupier.arm.share", "home", arm.arm] == arm.share
        assert seen["croupier.arm.reward.mean", "home", arm.arm] == pytest.approx(arm.mean)
        assert seen["croupier.arm.probability_best", "home", arm.arm] == pytest.approx(arm.probability_best)
    means = {arm.arm: arm.mean or 0.0 for arm in report.arms}
    assert means["a"] > means["b"]
    assert seen["croupier.regret", "home"] == pytest.approx(10 * (means["a"] - means["b"]))
    assert abs(seen["croupier.allocation.data.age", "home"]) < 60


def test_without_outcomes_nothing_is_made_up(database: Database) -> None:
    """No mean and no regret before anything is known: a gauge that is absent, not 0."""
    put(database, "new", specification("a", "b"))
    meter = Meter()
    note_quality(database, meter, now())
    names = {name for name, *_ in figures(meter)}
    assert "croupier.arm.propensity" in names
    assert not {"croupier.regret", "croupier.arm.reward.mean", "croupier.arm.share"} & names
    assert regret_of(arms_report(database, "new", now())) is None


def test_only_running_experiments_are_measured(database: Database) -> None:
    """One that is stopped costs nothing more."""
    put(database, "over", specification("a", "b"), state="stopped")
    meter = Meter()
    note_quality(database, meter, now())
    assert figures(meter) == {}
