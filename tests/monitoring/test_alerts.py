"""The state machine of alerts, and what each kind of rule says of a reading."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alert_rules import (
    DEFAULT_RULES,
    Absence,
    AnyRule,
    Avatar,
    Change,
    Drift,
    Reading,
    Rule,
    SampleRatio,
    SloBurn,
    Staleness,
    Starvation,
    Threshold,
)
from monitoring.alerts import Counts, Instance, State, burn_rate, close, evaluate, fingerprint

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ALLOWED = {
    ("inactive", "pending"), ("inactive", "firing"), ("pending", "firing"), ("pending", "inactive"),
    ("firing", "resolved"), ("resolved", "pending"), ("resolved", "firing"),
}  # fmt: skip
RULE = Threshold(metric="fallback_share", value=0.5, clear_at=0.3, for_s=60, keep_firing_for_s=30, min_sample=10)


def run(rule: Rule, *steps: tuple[float, float | None], sample: float = 100) -> list[State]:
    """The states after each of a series of (seconds, value)."""
    instance, states = Instance(since=T0), []
    for seconds, value in steps:
        reading = Reading(value=value, sample=sample)
        instance = evaluate(rule, reading, instance, T0 + timedelta(seconds=seconds)).instance
        states.append(instance.state)
    return states


def test_an_alert_waits_fires_and_is_resolved() -> None:
    """It fires once its condition has held for `for_s`, and is resolved after `keep_firing_for_s` of quiet."""
    assert run(RULE, (0, 0.6), (59, 0.6), (60, 0.6), (70, 0.1), (99, 0.1), (100, 0.1)) == [
        "pending", "pending", "firing", "firing", "firing", "resolved",
    ]  # fmt: skip


def test_a_pending_alert_whose_condition_ends_was_none() -> None:
    """It goes back to inactive, and starts to wait anew."""
    assert run(RULE, (0, 0.6), (30, 0.4), (40, 0.6), (99, 0.6), (100, 0.6)) == [
        "pending", "inactive", "pending", "pending", "firing",
    ]  # fmt: skip


def test_a_figure_between_the_two_limits_keeps_an_alert_firing_and_makes_none() -> None:
    """Hysteresis: what fires at 0.5 clears at 0.3."""
    assert run(RULE, (0, 0.4), (10, 0.6), (70, 0.6), (80, 0.4), (200, 0.4)) == [
        "inactive", "pending", "firing", "firing", "firing",
    ]  # fmt: skip


def test_a_moment_of_noise_begins_the_quiet_anew() -> None:
    """An alert that is quiet, loud and quiet again is resolved `keep_firing_for_s` after the last."""
    assert run(RULE, (0, 0.6), (60, 0.6), (70, 0.1), (80, 0.6), (105, 0.1), (134, 0.1), (135, 0.1))[-2:] == [
        "firing", "resolved",
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["inactive", "pending", "firing", "resolved"])
@pytest.mark.parametrize("reading", [Reading(), Reading(value=0.9, sample=9), Reading(value=0.0, sample=9)])
def test_no_data_and_small_samples_keep_the_state_and_say_why(state: State, reading: Reading) -> None:
    """They neither make an alert nor end one."""
    before = Instance(state=state, since=T0)
    outcome = evaluate(RULE, reading, before, T0 + timedelta(days=9))
    assert outcome.instance == before
    assert outcome.flip is None
    assert outcome.undecided


@given(
    st.lists(st.tuples(st.integers(0, 100), st.none() | st.floats(0, 1), st.integers(0, 20)), max_size=40),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_every_flip_is_an_allowed_one_and_has_its_condition(
    steps: list[tuple[int, float | None, int]], for_s: int, keep: int
) -> None:
    """Whatever comes: no way leads past `pending` unless `for_s` is 0, nor from there to resolved."""
    rule = msgspec.structs.replace(RULE, for_s=for_s, keep_firing_for_s=keep)
    instance, now = Instance(since=T0), T0
    for seconds, value, sample in steps:
        now += timedelta(seconds=seconds)
        reading = Reading(value=value, sample=sample)
        outcome = evaluate(rule, reading, instance, now)
        flip = outcome.flip
        assert (flip is None) == (outcome.instance.state == instance.state)
        if flip:
            assert (flip.before, flip.after) in ALLOWED
            assert value is not None
            assert sample >= rule.min_sample
            assert (flip.after in {"pending", "firing"}) == (value > 0.5)
            if flip.after == "firing":
                assert for_s == 0 or now - instance.since >= timedelta(seconds=for_s)
            if flip.after == "resolved":
                assert value <= 0.3
        instance = outcome.instance


@pytest.mark.parametrize(
    ("state", "after"), [("inactive", "inactive"), ("pending", "inactive"), ("firing", "resolved")]
)
def test_an_alert_that_is_watched_no_more_ends(state: State, after: State) -> None:
    """It does not fire for ever because its rule is gone."""
    outcome = close(Instance(state=state, since=T0), T0, "the rule is gone")
    assert outcome.instance.state == after
    assert (outcome.flip is None) == (state == after)


@pytest.mark.parametrize(
    ("rule", "true", "false"),
    [
        (Threshold(metric="decisions_per_s", comparison="below", value=1), Reading(value=0.9), Reading(value=1.0)),
        (Change(), Reading(value=0.2, interval=(0.01, 0.1)), Reading(value=0.2, interval=(-0.01, 0.1))),
        (Change(), Reading(value=-0.3, interval=(-0.2, -0.1)), Reading(value=-0.1, interval=(-0.2, -0.1))),
        (Change(direction="down"), Reading(value=-1, interval=(-2, -1)), Reading(value=1, interval=(1, 2))),
        (Change(direction="up"), Reading(value=1, interval=(1, 2)), Reading(value=-1, interval=(-2, -1))),
        (Drift(), Reading(value=0.5), Reading(value=0.49)),
        (SampleRatio(), Reading(value=1.01), Reading(value=1.0)),
        (Starvation(), Reading(value=0.49), Reading(value=0.5)),
        (Absence(of="feedback"), Reading(value=0), Reading(value=1)),
        (Staleness(), Reading(value=61), Reading(value=60)),
        (SloBurn(factor=6, window_s=600, short_window_s=60), Reading(value=6.1), Reading(value=6)),
        (Avatar(looks=2), Reading(value=2), Reading(value=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_fires_on_its_condition_only(rule: AnyRule, true: Reading, false: Reading) -> None:
    """The reading just beyond the limit makes an alert, the one at it does not."""
    now = T0 + timedelta(days=1)
    assert evaluate(rule, true, Instance(since=T0), now).instance.state == "firing"
    assert evaluate(rule, false, Instance(since=T0), now).instance.state == "inactive"


def test_a_burn_needs_both_windows() -> None:
    """It is that of the slower window, and unknown while either has no events."""
    bad, good, none = Counts(failed=20, total=1000), Counts(failed=0, total=1000), Counts(failed=0, total=0)
    assert burn_rate(bad, bad, 0.999) == pytest.approx(20)
    assert burn_rate(bad, good, 0.999) == burn_rate(good, bad, 0.999) == 0
    assert burn_rate(bad, none, 0.999) is burn_rate(none, bad, 0.999) is None


@pytest.mark.parametrize("of", ["answers", "latency"])
def test_the_default_burn_rates_are_those_of_the_workbook(of: str) -> None:
    """14.4 over 1 h and 5 min, 6 over 6 h and 30 min, 1 over 3 days and 6 h; each asks for a minimum of events."""
    burns = [rule for rule in DEFAULT_RULES.values() if isinstance(rule, SloBurn) and rule.of == of]
    assert [(r.factor, r.window_s, r.short_window_s, r.severity) for r in burns] == [
        (14.4, 3600, 300, "page"), (6, 21_600, 1800, "page"), (1, 259_200, 21_600, "ticket"),
    ]  # fmt: skip
    assert all(rule.min_sample > 0 for rule in burns)


def test_equal_label_sets_have_one_identity() -> None:
    """The order of labels does not matter, and no two sets share a fingerprint by their spelling."""
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    assert len({fingerprint(s) for s in ({}, {"a": "1"}, {"a": "1,b"}, {"a": "1", "b": ""})}) == 4


@pytest.mark.parametrize("key", DEFAULT_RULES)
def test_rules_are_data(key: str) -> None:
    """A rule that is written as JSON and read again is the same."""
    rule = DEFAULT_RULES[key]
    assert msgspec.json.decode(msgspec.json.encode(rule), type=AnyRule) == rule


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "threshold", "metric": "fallback_share", "value": 0.1, "clear_at": 0.2}',
        '{"kind": "slo_burn", "factor": 1, "window_s": 60, "short_window_s": 60}',
        '{"kind": "threshold", "metric": "fallback_share", "value": 0.1, "for": 3}',
        '{"kind": "slo_burn", "factor": 1, "window_s": 600, "short_window_s": 60, "of": "latency", "target_ms": 70}',
        '{"kind": "unheard_of"}',
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(text: str) -> None:
    """Limits the wrong way round, windows the wrong way round, unknown words and unknown kinds."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=AnyRule)
