"""Passes over closed windows: what has drifted is found when it drifts, and nothing else is."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app.alerting.evaluation import evaluate_all
from app.store.database import Database
from tests.app.building import put, query, specification
from tests.app.data_watch.streams import at, drifted, fill, watch


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
