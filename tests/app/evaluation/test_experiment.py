"""Targets on an experiment's own log."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.errors import Conflict
from app.evaluation.experiment import EvaluationRequest, evaluate_experiment
from app.specification import Specification
from app.store.database import Database
from tests.app.building import decision, flag, now, put, record, specification

_BEFORE = timedelta(hours=2)


def evaluated(database: Database, **parts: Any) -> int:
    """How many rows the evaluation of arm b rests on."""
    usual: dict[str, Any] = {"now": now(), "aside": lambda compute: compute()}
    return evaluate_experiment(database, "home", EvaluationRequest(arm="b"), **usual | parts).rows


def logged(database: Database, epoch: int, count: int = 5) -> None:
    """Mature decisions of an epoch."""
    moment = now() - _BEFORE
    record(database, [decision(arm="b", epoch=epoch, decided_at=moment, bucket=moment) for _ in range(count)])


def test_the_computing_goes_aside(database: Database) -> None:
    """All of it, in one piece, so that requests are not held up; reading is not, for the driver lets others run."""
    put(database, "home")
    logged(database, 1)
    went: list[Callable[[], Any]] = []

    def aside(compute: Callable[[], Any]) -> Any:
        went.append(compute)
        return compute()

    assert evaluated(database, aside=aside) == 5
    assert len(went) == 1


def test_what_is_not_comparable_is_left_out(database: Database) -> None:
    """Another policy changes nothing about outcomes; another recommender of any arm begins the log anew, for all."""
    put(database, "home", specification("a", "b"))
    logged(database, 1)
    put(database, "home", specification("a", "b", holdout=0.1))
    logged(database, 2)
    assert evaluated(database) == 10
    put(database, "home", Specification(arms=(flag("a", 1), flag("b", None)), holdout=0.1))
    with pytest.raises(Conflict, match="No decision of experiment 'home' counts and is mature yet"):
        evaluated(database)
    logged(database, 3)
    assert evaluated(database) == 5
