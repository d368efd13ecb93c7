"""Looks at avatars: what is asked, stored and told, in virtual time."""

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.alerting.evaluation import evaluate_all
from app.avatars import operating
from app.avatars.looking import Looking
from app.avatars.shape import AvatarRequest, Expectation
from app.errors import Conflict, InvalidInput, NotFound
from app.monitor import grow
from app.outgoing import Guard
from app.recommenders import Http, ModelServers, Python, PythonFunctions, Static
from app.serving.allocations import Allocations
from app.specification import Arm, Specification
from app.store import avatars as store
from app.store.database import Database
from tests.app.building import disagreements, execute, now, put, query
from tests.models import ModelServer, listing, model_server
from tests.running import until

MINUTE = timedelta(minutes=1)
COUNTED = (
    "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM decision_counts), count(*) FROM arm_statistics"
)


def lists(**arms: str) -> Specification:
    """Arms with lists of letters."""
    return Specification(arms=tuple(Arm(key=k, recommender=Static(items=tuple(v))) for k, v in arms.items()))


def avatar(**parts: Any) -> AvatarRequest:
    """An avatar "u" that is looked at once a minute."""
    return AvatarRequest(**{"unit": "u", "every_s": 60, **parts})


@pytest.fixture
def home(database: Database) -> Database:
    """A database with an experiment "home", arms "a" and "b"."""
    put(database, "home", lists(a="abcde", b="vwxyz"))
    return database


@pytest.fixture
def looking(home: Database) -> Looking:
    """What the monitor does."""
    return Looking(home, Allocations(home))


def make(database: Database, wanted: AvatarRequest, at: datetime, key: str = "anna") -> dict[str, Any]:
    """Makes an avatar."""
    return operating.put(database, "home", key, wanted, at, actor="tester")


def history(database: Database, arm: str | None = None, key: str = "anna") -> list[dict[str, Any]]:
    """Looks, the newest first."""
    return operating.looks(database, "home", key, arm=arm, before=None, limit=100)


def alerts(database: Database, rule: str = "avatar") -> list[tuple[Any, ...]]:
    """State, avatar and arm of a rule's alerts."""
    text = "SELECT state, labels ->> 'avatar', labels ->> 'arm' FROM alerts WHERE rule = :rule ORDER BY id"
    return query(database, text, rule=rule)


def test_a_changed_recommender_is_seen_and_the_alert_fires_and_is_resolved(home: Database, looking: Looking) -> None:
    """The arm that changed, and no other; the next list is like the one before. Nothing is counted."""
    start = now()
    make(home, avatar(k=5, expect=Expectation(min_overlap=0.5)), start)
    before = query(home, COUNTED)
    assert looking.look_at_due(start) == 1
    evaluate_all(home, start)
    assert alerts(home) == []
    put(home, "home", lists(a="abcde", b="ywuts"))
    assert looking.look_at_due(start + MINUTE) == 1
    evaluate_all(home, start + MINUTE)
    assert alerts(home) == [("firing", "anna", "b")]
    changed = history(home, "b")[0]
    assert (changed["came"], changed["went"]) == (["u", "t", "s"], ["v", "x", "z"])
    assert changed["fault"] == "overlap of 0.25 with the list before, expected at least 0.5"
    assert operating.get(home, "home", "anna")["faults"] == {"a": None, "b": changed["fault"]}
    looking.look_at_due(start + 2 * MINUTE)
    evaluate_all(home, start + 2 * MINUTE)
    assert alerts(home) == [("resolved", "anna", "b")]
    assert [look["overlap"] for look in history(home, "a")] == [1, 1, None]
    assert query(home, COUNTED) == before
    assert disagreements(home) == []


def test_avatars_are_looked_at_on_their_schedule(home: Database, looking: Looking) -> None:
    """Not before it is time, each by its own; one that is changed at once, and compared with nothing of before."""
    start = now()
    make(home, avatar(), start)
    make(home, avatar(every_s=120, arms=("b",)), start, key="bert")
    assert looking.look_at_due(start) == 2
    assert looking.look_at_due(start + 0.9 * MINUTE) == 0
    assert looking.look_at_due(start + MINUTE) == 1
    assert looking.look_at_due(start + 2 * MINUTE) == 2
    assert [look["arm"] for look in history(home, key="bert")] == ["b", "b"]
    make(home, avatar(k=2), start + 2.1 * MINUTE)
    assert looking.look_at_due(start + 2.2 * MINUTE) == 1
    assert [(look["items"], look["overlap"]) for look in history(home, "a")[:2]] == [
        (["a", "b"], None),
        (["a", "b", "c", "d", "e"], 1),
    ]


def test_the_same_avatar_again_changes_nothing(home: Database, looking: Looking) -> None:
    """It is neither looked at anew nor audited twice."""
    start = now()
    make(home, avatar(), start)
    looking.look_at_due(start)
    again = make(home, avatar(), start + MINUTE / 2)
    assert again["since"] == start
    assert looking.look_at_due(start + MINUTE / 2) == 0
    assert query(home, "SELECT action FROM audit_log WHERE subject = 'avatar:home/anna'") == [("put",)]


def test_only_running_experiments_and_active_arms_are_asked(home: Database, looking: Looking) -> None:
    """Alerts of an arm that is asked no more are closed."""
    start = now()
    make(home, avatar(k=5, expect=Expectation(must_include=("a",))), start)
    looking.look_at_due(start)
    evaluate_all(home, start)
    assert alerts(home) == [("firing", "anna", "b")]
    arms = lists(a="abcde", b="vwxyz").arms
    put(home, "home", Specification(arms=(arms[0], Arm(key="b", recommender=arms[1].recommender, state="draining"))))
    looking.look_at_due(start + MINUTE)
    evaluate_all(home, start + MINUTE)
    assert alerts(home) == [("resolved", "anna", "b")]
    assert [look["arm"] for look in history(home)] == ["a", "b", "a"]
    execute(home, "UPDATE experiments SET state = 'paused'")
    assert looking.look_at_due(start + 5 * MINUTE) == 0


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model server that lists two items."""
    with model_server() as running:
        running.answers["/rank"] = listing(["m", "n"])
        yield running


def test_a_model_server_that_dies_is_a_failure_and_stops_no_other_arm(database: Database, server: ModelServer) -> None:
    """The look says why; after it, lists are compared with the last one that there was."""
    arms = (Arm(key="a", recommender=Http(url=server.url(), deadline_ms=2000)), lists(b="xyz").arms[0])
    put(database, "home", Specification(arms=arms))
    servers = ModelServers(Guard(private=True))
    start, looking = now(), Looking(database, Allocations(database, servers=servers))
    make(database, avatar(context={"page": "home"}), start)
    looking.look_at_due(start)
    assert server.questions[0]["context"] == {"page": "home"}
    server.close()
    looking.look_at_due(start + MINUTE)
    dead = history(database, "a")[0]
    assert dead["failure"].startswith("no connection to the model server")
    assert (dead["items"], dead["faults"], dead["fault"]) == ([], 1, f"no list: {dead['failure']}")
    assert history(database, "b")[0]["fault"] is None
    evaluate_all(database, start + MINUTE)
    assert alerts(database) == [("firing", "anna", "a")]
    again = ModelServer(server.port)
    again.answers["/rank"] = listing(["n", "o"])
    looking.look_at_due(start + 2 * MINUTE)
    again.close()
    back = history(database, "a")[0]
    assert (back["came"], back["went"], back["fault"]) == (["o"], ["m"], None)


SHOP = """
import threading
go_on = threading.Event()
def hangs(unit, context, k):
    go_on.wait(10)
    return ["late"]
def leaves(unit, context, k): raise SystemExit("licence expired")
def answers(unit, context, k): return [context["favourite"], unit]
"""


def test_functions_that_hang_or_leave_stop_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are failures of their arms. One that hangs is asked again when it has returned."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    targets = {arm: f"{name}:{arm}" for arm in ("hangs", "leaves", "answers")}
    arms = (Arm(key=arm, recommender=Python(target=target)) for arm, target in targets.items())
    put(database, "home", Specification(arms=tuple(arms)))
    start = now()
    looking = Looking(database, Allocations(database, functions=PythonFunctions(targets.values())), patience_s=0.2)
    make(database, avatar(context={"favourite": "x"}), start)
    looking.look_at_due(start)
    looking.look_at_due(start + MINUTE)
    failures = [look["failure"] for look in history(database, "hangs")]
    assert failures == ["what it was asked before has not returned yet", "it has not returned within 0.2 s"]
    assert "licence expired" in history(database, "leaves")[0]["failure"]
    assert history(database, "answers")[0]["items"] == ["x", "u"]
    sys.modules[name].go_on.set()
    until(lambda: looking.look_at_due(start + 2 * MINUTE) or history(database, "hangs")[0]["items"] == ["late"], "it")


def test_looks_that_fail_to_come_are_told(home: Database, looking: Looking) -> None:
    """Two rules: what an avatar's last list was says nothing after a while, and that no looks come has its own."""
    start = now()
    make(home, avatar(k=5, expect=Expectation(must_include=("a",))), start)
    looking.look_at_due(start)
    evaluate_all(home, start)
    late = start + 90 * MINUTE
    evaluate_all(home, late)
    assert alerts(home) == [("firing", "anna", "b"), ("inactive", "anna", "a")]
    assert query(home, "SELECT DISTINCT misses FROM alerts WHERE rule = 'avatar'") == [(1,)]
    assert alerts(home, "no-looks") == [("firing", None, None)]
    looking.look_at_due(late)
    evaluate_all(home, late)
    assert alerts(home, "no-looks") == [("resolved", None, None)]


def test_experiments_without_avatars_are_quiet(home: Database, looking: Looking) -> None:
    """No alert, not even one that could not be judged; and nothing is loaded."""
    assert looking.look_at_due(now()) == 0
    evaluate_all(home, now())
    assert alerts(home) == alerts(home, "no-looks") == []


def test_a_look_at_an_avatar_that_was_changed_meanwhile_is_dropped(home: Database) -> None:
    """So is one at an avatar that was deleted: its history is gone too."""
    start = now()
    make(home, avatar(), start)
    with home.transaction() as connection:
        claimed = store.claim(connection, start)
    assert claimed is not None
    make(home, avatar(k=3), start + MINUTE)
    with home.transaction() as connection:
        assert not store.save(connection, claimed, [])
    operating.remove(home, "home", "anna", actor="tester")
    with home.transaction() as connection:
        assert not store.save(connection, claimed, [])


def test_what_cannot_be_made_is_refused(home: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm or an experiment that does not exist, and one avatar too many."""
    with pytest.raises(InvalidInput, match="'c' is no arm of 'home'"):
        make(home, avatar(arms=("a", "c")), now())
    with pytest.raises(NotFound, match="no experiment 'nowhere'"):
        operating.put(home, "nowhere", "anna", avatar(), now(), actor="tester")
    with pytest.raises(NotFound, match="no avatar 'anna'"):
        operating.get(home, "home", "anna")
    monkeypatch.setattr(operating, "_MOST", 1)
    make(home, avatar(), now())
    with pytest.raises(Conflict, match="1 avatars, which is the most"):
        make(home, avatar(), now(), key="bert")


def test_old_looks_are_forgotten_with_the_log(home: Database, looking: Looking) -> None:
    """After the experiment's retention."""
    start = now()
    make(home, avatar(), start)
    looking.look_at_due(start - 10 * 1440 * MINUTE)
    looking.look_at_due(start)
    assert len(history(home)) == 4
    grow(home, start, 5)
    assert len(history(home)) == 2
