"""One pass over the rules: what is read, stored and kept."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.alerting.evaluation import evaluate_all
from app.specification import Reward
from app.store import alerts as store
from app.store import metric_values
from app.store.database import Database
from app.store.metric_values import MetricValue
from app.store.partitions import make_partitions
from tests.app.building import decision, execute, matched, now, put, query, record, specification, write

MINUTE = timedelta(minutes=1)


@pytest.fixture
def home(database: Database) -> Database:
    """A database with an experiment "home"."""
    put(database, "home", specification())
    return database


def serve(database: Database, n: int, at: datetime, *, fallbacks: int = 0, **columns: Any) -> None:
    """Records decisions of one moment, the first of them answered by a fallback; arms take turns."""
    rows = []
    for i in range(n):
        arm = "ab"[i % 2]
        failed: dict[str, Any] = {"served_arm": None, "reason": "fallback", "learnable": False} if i < fallbacks else {}
        rows.append(decision(decided_at=at, **{"arm": arm, "served_arm": arm, **failed, **columns}))
    record(database, rows)


def states(database: Database) -> dict[str, str]:
    """The state of each alert that is not inactive, by its rule."""
    return {row[0]: row[1] for row in query(database, "SELECT rule, state FROM alerts WHERE state <> 'inactive'")}


def flips(database: Database, rule: str) -> list[tuple[str, str]]:
    """From and to of all flips of a rule's alerts."""
    text = (
        "SELECT f.before, f.after FROM alert_flips f JOIN alerts a ON a.id = f.alert WHERE a.rule = :rule ORDER BY f.id"
    )
    return [(before, after) for before, after in query(database, text, rule=rule)]


def store_rule(database: Database, key: str, rule: str, experiment: str = "") -> None:
    """Stores a rule as it is, also one that no API would take."""
    text = "INSERT INTO alert_rules (experiment, key, rule) VALUES (:experiment, :key, cast(:rule AS jsonb))"
    execute(database, text, experiment=experiment, key=key, rule=rule)


def test_fallbacks_burn_the_budget_and_every_flip_is_a_row(home: Database) -> None:
    """Availability alerts fire at once, `fallbacks` after its `for`; when all is well again they are resolved."""
    moment = now()
    serve(home, 1000, moment, fallbacks=100)
    evaluate_all(home, moment)
    assert states(home)["availability-page-fast"] == "firing"
    assert states(home)["fallbacks"] == "pending"
    evaluate_all(home, moment + 5 * MINUTE)
    assert states(home)["fallbacks"] == "firing"
    serve(home, 1000, moment + 19 * MINUTE)
    evaluate_all(home, moment + 20 * MINUTE)
    assert states(home)["fallbacks"] == "resolved"
    assert flips(home, "fallbacks") == [("inactive", "pending"), ("pending", "firing"), ("firing", "resolved")]


def test_a_quiet_experiment_has_no_alerts_and_says_why(home: Database) -> None:
    """Without data nothing flips; what could not be judged is counted."""
    for i in range(3):
        assert evaluate_all(home, now() + i * MINUTE) == []
    assert states(home) == {}
    assert query(home, "SELECT misses, undecided <> '' FROM alerts WHERE rule = 'availability-ticket'") == [(3, True)]


def test_a_bad_rule_stops_neither_the_others_nor_itself(home: Database) -> None:
    """A rule that cannot be read, and an experiment that cannot be read from, leave all others as they are."""
    moment = now()
    store_rule(home, "aaa", '{"kind": "nonsense"}')
    put(home, "broken", specification())
    execute(home, "UPDATE allocations SET evidence = '[]', probabilities = '[]' WHERE experiment = 'broken'")
    serve(home, 1000, moment, fallbacks=100)
    serve(home, 1000, moment, experiment="broken")
    evaluate_all(home, moment)
    assert states(home)["availability-page-fast"] == "firing"
    found = query(home, "SELECT undecided FROM alerts WHERE rule = 'aaa' AND experiment = 'home'")
    assert "cannot be read" in found[0][0]
    found = query(home, "SELECT undecided FROM alerts WHERE rule = 'sample-ratio' AND experiment = 'broken'")
    assert "evaluation failed" in found[0][0]


def test_a_firing_alert_without_data_keeps_firing(home: Database) -> None:
    """No traffic any more is no recovery."""
    moment = now()
    serve(home, 1000, moment, fallbacks=100)
    evaluate_all(home, moment)
    evaluate_all(home, moment + 10 * MINUTE)
    assert states(home)["availability-page-fast"] == "firing"


@pytest.mark.parametrize("end", ["switched off", "gone", "paused"])
def test_what_is_watched_no_more_is_resolved(home: Database, end: str) -> None:
    """An alert does not outlive its rule, nor the running of its experiment."""
    moment = now()
    rule = '{"kind": "threshold", "metric": "fallback_share", "value": 0.01}'
    store_rule(home, "mine", rule)
    serve(home, 100, moment, fallbacks=50)
    evaluate_all(home, moment)
    assert states(home)["mine"] == "firing"
    if end == "gone":
        execute(home, "DELETE FROM alert_rules")
    elif end == "paused":
        execute(home, "UPDATE experiments SET state = 'paused'")
    else:
        execute(home, """UPDATE alert_rules SET rule = rule || '{"enabled": false}'""")
    evaluate_all(home, moment + MINUTE)
    assert states(home)["mine"] == "resolved"


def test_two_passes_at_once_write_one_flip(home: Database) -> None:
    """The UPDATE is guarded by the state that was read: who comes second changes nothing."""
    moment = now()
    serve(home, 1000, moment, fallbacks=100)
    first = evaluate_all(home, moment)
    with home.transaction() as connection:
        assert [row.rule for row in store.save(connection, first, moment)] == [row.rule for row in first]
    assert flips(home, "availability-page-fast") == [("inactive", "firing")]


def test_an_arm_without_its_floor_is_starved_alone(home: Database) -> None:
    """Each arm is an alert of its own."""
    moment = now()
    store_rule(home, "starvation", '{"kind": "starvation", "min_sample": 5}')
    serve(home, 2000, moment + 2 * MINUTE, arm="a", served_arm="a")
    evaluate_all(home, moment + 3 * MINUTE)
    found = query(home, "SELECT labels ->> 'arm' FROM alerts WHERE rule = 'starvation' AND state = 'firing'")
    assert found == [("b",)]


def test_exposures_that_get_lost_break_the_sample_ratio(home: Database) -> None:
    """2,000 exposures of one arm, none of the other, under equal shares; with both, no alert."""
    moment = now()
    serve(home, 2000, moment)
    evaluate_all(home, moment)
    assert "sample-ratio" not in states(home)
    serve(home, 2000, moment, arm="a", served_arm="a")
    evaluate_all(home, moment + MINUTE)
    assert states(home)["sample-ratio"] == "firing"


def test_a_broken_recommender_is_no_sample_ratio_mismatch(home: Database) -> None:
    """What fallbacks answered was dealt all the same: half of one arm's decisions fail, and the ratio is right."""
    moment = now()
    serve(home, 2000, moment)
    serve(home, 1000, moment, arm="a", served_arm="a")
    serve(home, 1000, moment, arm="b", served_arm=None, reason="fallback", learnable=False)
    evaluate_all(home, moment)
    assert "sample-ratio" not in states(home)
    assert states(home)["fallbacks"] == "pending"


def test_traffic_that_stops_is_noticed(home: Database) -> None:
    """Decisions came an hour ago, and none does now; a new experiment, which never had any, is left alone."""
    moment = now()
    put(home, "new", specification())
    serve(home, 1000, moment)
    evaluate_all(home, moment + 60 * MINUTE)
    evaluate_all(home, moment + 66 * MINUTE)
    assert query(home, "SELECT experiment, state FROM alerts WHERE rule = 'no-decisions' AND state <> 'inactive'") == [
        ("home", "firing")
    ]


def test_a_learner_that_does_not_learn_is_noticed(home: Database) -> None:
    """New evidence, an old allocation, for a minute."""
    moment = now()
    serve(home, 100, moment)
    evaluate_all(home, moment + 60 * MINUTE)
    evaluate_all(home, moment + 62 * MINUTE)
    assert states(home)["stale-allocation"] == "firing"


def test_a_stored_rule_of_an_experiment_wins(home: Database) -> None:
    """Over one for all, which wins over the default."""
    moment = now()
    put(home, "other", specification())
    store_rule(home, "fallbacks", '{"kind": "threshold", "metric": "fallback_share", "value": 0.5}')
    store_rule(home, "fallbacks", '{"kind": "threshold", "metric": "fallback_share", "value": 0.05}', "home")
    for experiment in ("home", "other"):
        serve(home, 100, moment, fallbacks=10, experiment=experiment)
    evaluate_all(home, moment)
    assert query(home, "SELECT experiment FROM alerts WHERE rule = 'fallbacks' AND state = 'firing'") == [("home",)]


def test_rewards_that_fall_are_noticed_and_rewards_that_stay_are_not(database: Database) -> None:
    """From 50 % to 10 % of 400 exposures; exposures without feedback count as the default."""
    moment = now()
    store_rule(database, "reward-change", '{"kind": "change", "window_s": 600, "reference_s": 1800, "min_sample": 100}')
    for experiment, share in (("falls", 10), ("stays", 2)):
        put(database, experiment, specification(reward=Reward(window_s=10)))
        for age, every in ((20, 2), (5, share)):
            at = moment - age * MINUTE
            rows = [decision(experiment, decided_at=at) for _ in range(400)]
            record(database, rows)
            write(database, [matched(row) for row in rows[::every]])
    evaluate_all(database, moment)
    found = query(database, "SELECT experiment, value FROM alerts WHERE rule = 'reward-change' AND state = 'firing'")
    assert found == [("falls", pytest.approx(-0.8))]


def test_events_in_quarantine_are_noticed(home: Database) -> None:
    """More than 5 % of what came."""
    moment = now()
    text = (
        "INSERT INTO quarantine (fingerprint, kind, experiment, reason, detail, payload)"
        " SELECT n::text, 'feedback', 'home', 'too_late', '', '{}' FROM generate_series(1, 100) n"
    )
    execute(home, text)
    evaluate_all(home, moment)
    assert states(home)["quarantine"] == "pending"


def test_rewards_that_fall_every_day_at_this_hour_are_no_change(database: Database) -> None:
    """From 50 to 10 %, as a day ago; without a season that is an alarm, and while feedback is overdue it is none."""
    moment = now().replace(minute=30, second=0, microsecond=0) + timedelta(hours=2)
    with database.transaction() as connection:
        make_partitions(connection, moment - timedelta(days=1))
    rule = '{"kind": "change", "window_s": 3600, "reference_s": 21600, "min_sample": 100'
    for experiment, more in (("daily", ""), ("season-less", ', "season_s": 0'), ("overdue", ', "season_s": 0')):
        put(database, experiment, specification(reward=Reward(window_s=10)))
        store_rule(database, "reward-change", rule + more + "}", experiment)
        for age, every in ((timedelta(days=1, minutes=20), 10), (timedelta(hours=4), 2), (timedelta(minutes=20), 10)):
            rows = [decision(experiment, decided_at=moment - age) for _ in range(400)]
            record(database, rows)
            write(database, [matched(row) for row in rows[::every]])
    late = MetricValue(
        experiment="overdue", level="data", window_start=moment - 10 * MINUTE, window_s=300, metric="overdue_share",
        value=0.5, n=100,
    )  # fmt: skip
    with database.transaction() as connection:
        metric_values.put(connection, [late])
    evaluate_all(database, moment)
    found = query(database, "SELECT experiment FROM alerts WHERE rule = 'reward-change' AND state = 'firing'")
    assert found == [("season-less",)]
    told = "SELECT undecided FROM alerts WHERE rule = 'reward-change' AND experiment = 'overdue'"
    assert "50% of the feedback is overdue" in query(database, told)[0][0]
