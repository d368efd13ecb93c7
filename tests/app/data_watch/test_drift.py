"""Passes over closed windows: what has drifted is found when it drifts, and nothing else is."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from app.alerting.evaluation import evaluate_all
from app.data_watch.role import watch_all
from app.recommenders.popular import Popular
from app.recommenders.similar import Similar
from app.specification import Arm, Reward, Specification
from app.store.database import Database
from monitoring.meter import Meter
from tests.app.building import execute, matched, put, query, record, specification, write
from tests.app.data_watch.streams import START, WIDTHS, WINDOW, at, drifted, figures, fill, rows_of, watch


@pytest.fixture
def home(database: Database) -> Database:
    """A database with an experiment "home"."""
    put(database, "home", specification())
    return database


def usual(rng: np.random.Generator, n: int) -> Sequence[dict[str, Any]]:
    """Age, device and country."""
    ages, devices = rng.normal(40, 10, n), rng.choice(["phone", "tv"], n, p=[0.7, 0.3])
    return [
        {"age": float(age), "device": str(device), "geo": {"country": "FR"}}
        for age, device in zip(ages, devices, strict=True)
    ]


def older(rng: np.random.Generator, n: int) -> Sequence[dict[str, Any]]:
    """The same, ten years older."""
    return [{**context, "age": context["age"] + 10} for context in usual(rng, n)]


def test_a_shifted_number_is_found_in_the_first_window_that_has_it(home: Database) -> None:
    """A standard deviation of 150 rows (a miss has probability < 1e-9), upwards; nothing else is found."""
    rng = np.random.default_rng(5)
    fill(home, rng, range(6), usual)
    fill(home, rng, range(6, 8), older)
    watch(home, range(4, 8))
    assert drifted(home) == [(6, "context/age", "up"), (7, "context/age", "up")]


def alerts(database: Database, window: int) -> dict[tuple[str, str | None], str]:
    """States of the alerts of drift, by rule and feature, once they are evaluated after a window."""
    evaluate_all(database, at(window + 1) + timedelta(minutes=2))
    text = "SELECT rule, labels ->> 'feature', state FROM alerts WHERE rule LIKE '%drift' AND state <> 'inactive'"
    return {(rule, feature): state for rule, feature, state in query(database, text)}


def test_a_feature_alerts_after_two_windows_and_is_resolved_by_the_first_quiet_one(home: Database) -> None:
    """One window alone may be chance. Of three features one is not the half: the dataset does not alert."""
    rng = np.random.default_rng(6)
    seen = []
    fill(home, rng, range(19), usual)
    for window, contexts in enumerate([usual, older, older, usual], 19):
        fill(home, rng, [window], contexts)
        watch(home, [window])
        seen.append(alerts(home, window))
    of_age = ("feature-drift", "context/age")
    assert seen == [{}, {}, {of_age: "firing"}, {of_age: "resolved"}]


def test_the_dataset_alerts_when_half_of_its_features_have_drifted(home: Database) -> None:
    """Two of three, in two windows."""
    rng = np.random.default_rng(7)
    fill(home, rng, range(3), usual)
    fill(home, rng, range(3, 5), lambda rng, n: [{**context, "device": "tv"} for context in older(rng, n)])
    watch(home, range(2, 4))
    assert alerts(home, 3) == {}
    watch(home, [4])
    assert alerts(home, 4)["drift", None] == "firing"


def test_a_quiet_stream_seldom_drifts_and_never_alerts(home: Database) -> None:
    """At most 8 of 20 passes find anything: with 5 % each, more have P < 1e-6. No alert: the seed is fixed."""
    rng = np.random.default_rng(8)
    fill(home, rng, range(24), usual, n=80)
    found = set()
    for window in range(4, 24):
        watch(home, [window])
        assert alerts(home, window) == {}
        found |= {number for number, _, _ in drifted(home)}
    assert len(found) <= 8


def test_a_new_category_and_rising_nulls_are_found_in_their_window(home: Database) -> None:
    """A fifth of the devices is new, a fifth of the ages gone: both with z > 5 in 300 rows; nothing else is found."""
    rng = np.random.default_rng(9)

    def changed(rng: np.random.Generator, n: int) -> Sequence[dict[str, Any]]:
        fifth = rng.random(n) < 0.2
        return [
            {**context, "device": "watch", "age": None} if hit else context
            for context, hit in zip(usual(rng, n), fifth, strict=True)
        ]

    fill(home, rng, range(4), usual, n=300)
    fill(home, rng, [4], changed, n=300)
    watch(home, range(2, 5))
    text = "SELECT feature, moved, direction FROM drift_results WHERE drifted AND feature <> '' ORDER BY 1"
    assert query(home, text) == [("context/age:missing", "missing", "up"), ("context/device", "watch", "up")]
    shares = figures(home, 4)
    assert shares["unseen_share/device"] == shares["missing_share/age"]
    assert shares["unseen_share/device"][1] == 300


def test_scores_of_one_arm_that_fall_are_found_as_its_own(database: Database) -> None:
    """By a standard deviation in 150 lists; the other arm's stay, and so do those of an arm that counts rewards."""
    put(
        database, "home", Specification(arms=(Arm(key="a", recommender=Similar()), Arm(key="b", recommender=Popular())))
    )
    rng = np.random.default_rng(10)
    for window in range(4):
        for arm in "ab":
            moved = -0.1 if window == 3 else 0.0
            rows = rows_of(rng, window, [{}] * 150, arm=arm)
            scored = [replace(row, items=("i",), scores=(rng.normal(0.5 + moved, 0.1),)) for row in rows]
            record(database, scored)
    watch(database, range(2, 4))
    assert drifted(database) == [(3, "score/a", "down")]


def test_rewards_of_one_arm_that_drop_are_found_once_they_are_final(database: Database) -> None:
    """From 40 to 5 %: by the two-sample test and by Page–Hinkley, in the first window whose exposures are final."""
    put(database, "home", specification(reward=Reward(window_s=300)))
    rng = np.random.default_rng(11)
    for window in range(6):
        for arm in "ab":
            rows = rows_of(rng, window, [{}] * 150, arm=arm)
            record(database, rows)
            rate = 0.05 if arm == "b" and window == 5 else 0.4
            rewarded = [row for row in rows if rng.random() < rate]
            write(database, [matched(row, occurred_at=row.decided_at) for row in rewarded])
    watch(database, range(2, 7))
    text = (
        "SELECT window_start, test, direction FROM drift_results WHERE drifted AND feature = 'reward/b' ORDER BY 1, 2"
    )
    found = [((start - START) // WINDOW, test, direction) for start, test, direction in query(database, text)]
    # Window 5 knows half of its own exposures by then, the next one the others.
    assert ("page_hinkley", "down") in [each[1:] for each in found]
    assert {each[0] for each in found} <= {5, 6}
    assert (6, "two_proportion_z", "down") in found
    assert {feature for _, feature, _ in drifted(database)} == {"reward/b"}


def test_a_pass_that_is_repeated_comes_to_the_same(home: Database) -> None:
    """Also what Page–Hinkley takes on from the window before; and it replaces its own results only."""
    rng = np.random.default_rng(12)
    fill(home, rng, range(4), usual)
    watch(home, range(2, 4))
    text = "SELECT * FROM drift_results ORDER BY window_start, feature, test"
    first = [row[:-1] for row in query(home, text)]
    execute(home, "DELETE FROM drift_results WHERE window_start = :start", start=at(3))
    watch(home, [3])
    assert [row[:-1] for row in query(home, text)] == first


def test_an_experiment_that_cannot_be_watched_keeps_no_other_from_it(home: Database) -> None:
    """It is tried again with the next pass, and the other has its results."""
    put(home, "broken", specification())
    for window in range(2):
        record(home, rows_of(np.random.default_rng(13), window, [{}], experiment="broken"))
    execute(home, "UPDATE decisions SET scores = '{Infinity}' WHERE experiment = 'broken'")
    fill(home, np.random.default_rng(14), range(2), usual)
    assert watch_all(home, at(2) + timedelta(minutes=1), WIDTHS, Meter()) == 1
    assert {key for (key,) in query(home, "SELECT DISTINCT experiment FROM drift_results")} == {"home"}


def test_units_that_come_again_and_again_are_no_drift(home: Database) -> None:
    """200 units with a device each come in every window: at most 4 of 8 passes find anything (5 % each: P < 1e-5).

    Taken as rows of their own they would differ far more than chance allows.
    """
    rng = np.random.default_rng(15)
    ages = rng.normal(40, 10, 200)
    for window in range(16):
        chosen = rng.choice(200, 300)
        rows = rows_of(rng, window, [{"age": float(ages[unit])} for unit in chosen])
        record(home, [replace(row, unit=str(unit)) for row, unit in zip(rows, chosen, strict=True)])
    watch(home, range(8, 16))
    assert len({window for window, _, _ in drifted(home)}) <= 4
    assert query(home, "SELECT max(n) <= 200 FROM drift_results") == [(True,)]


def test_the_newest_drift_is_a_metric(home: Database) -> None:
    """By experiment and feature; from 1 on it has drifted."""
    rng = np.random.default_rng(5)
    fill(home, rng, range(4), usual)
    fill(home, rng, [4], older)
    meter = Meter()
    watch_all(home, at(5) + timedelta(minutes=1), WIDTHS, meter)
    seen: dict[tuple[str, ...], float] = {}
    meter.read(lambda every: seen.update({s.labels: s.value for s in every}))
    assert seen["home", "context/age"] >= 1
    assert seen["home", "context/device"] < 1
    assert seen["home", "dataset"] == pytest.approx(2 / 3)


def test_an_alert_stays_while_no_window_is_looked_at(home: Database) -> None:
    """A monitor that was away says nothing of the present."""
    rng = np.random.default_rng(6)
    fill(home, rng, range(4), usual)
    fill(home, rng, range(4, 6), older)
    watch(home, range(4, 6))
    assert alerts(home, 5)["feature-drift", "context/age"] == "firing"
    execute(home, "UPDATE drift_results SET drifted = false")
    assert alerts(home, 12)["feature-drift", "context/age"] == "firing"
    assert alerts(home, 6)["feature-drift", "context/age"] == "resolved"
