"""One pass over all rules of all experiments. Whatever is wrong with one rule, the others are evaluated."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.alerting.readings import read
from app.alerting.rules import in_force
from app.errors import Unavailable
from app.store import alert_rules, experiments
from app.store import alerts as store
from app.store.alerts import AlertRow
from app.store.database import Database
from app.store.experiments import Experiment
from monitoring.alert_rules import AnyRule, Reading
from monitoring.alerts import Outcome, close, evaluate, fingerprint

__all__ = ["evaluate_all"]

log = logging.getLogger(__name__)

Known = Mapping[str, dict[str, Any]]  # stored alerts by fingerprint


def evaluate_all(database: Database, now: datetime) -> list[AlertRow]:
    """Evaluates every rule and stores what came of it; returns the alerts that flipped.

    Raises:
        Unavailable: the database is away.
    """
    with database.transaction() as connection:
        known = experiments.all_of(connection)
        stored = alert_rules.rows(connection)
    flipped: list[AlertRow] = []
    for experiment in known:
        try:
            flipped += _evaluate(database, experiment, in_force(stored, experiment.key), now)
        except Unavailable:
            raise
        except Exception:  # one experiment must not keep the others' alerts from being seen
            log.exception("cannot evaluate alerts", extra={"experiment": experiment.key})
    return flipped


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """What is the same for all rules of an experiment."""

    database: Database
    experiment: Experiment
    known: Known
    now: datetime


def _evaluate(
    database: Database, experiment: Experiment, rules: Mapping[str, AnyRule | str], now: datetime
) -> list[AlertRow]:
    with database.transaction() as connection:
        known = store.current(connection, experiment.key)
    this = _Pass(database=database, experiment=experiment, known=known, now=now)
    flipped: list[AlertRow] = []
    for key in sorted({*rules, *(row["rule"] for row in known.values())}):
        rows = [row for row in _rows(this, key, rules.get(key)) if _matters(row, known)]
        with database.transaction() as connection:
            lost = store.save(connection, rows, now)
        flipped += [row for row in rows if row.outcome.flip and row not in lost]
    return flipped


def _matters(row: AlertRow, known: Known) -> bool:
    """Whether there is something to store: what is inactive, and was, needs no row."""
    before = known.get(row.fingerprint)
    was_quiet = before is None or (before["state"] == "inactive" and not before["misses"])
    return not (was_quiet and row.outcome.instance.state == "inactive" and not row.outcome.undecided)


def _rows(this: _Pass, key: str, rule: AnyRule | str | None) -> Iterator[AlertRow]:
    """What one rule says, by label set."""
    if this.experiment.state != "running":
        yield from _closed(this, key, set(), f"the experiment is {this.experiment.state}")
    elif rule is None:
        yield from _closed(this, key, set(), "the rule is gone")
    elif isinstance(rule, str):
        yield from _kept(this, key, None, rule)
    elif not rule.enabled:
        yield from _closed(this, key, set(), "the rule is switched off")
    else:
        yield from _judged(this, key, rule)


def _judged(this: _Pass, key: str, rule: AnyRule) -> Iterator[AlertRow]:
    try:
        with this.database.transaction() as connection:
            readings = read(connection, this.experiment, rule, this.now)
    except Unavailable:
        raise
    except Exception as error:  # a rule that cannot be evaluated keeps its state, says so, and stops no other
        log.exception("cannot evaluate a rule", extra={"experiment": this.experiment.key, "rule": key})
        yield from _kept(this, key, rule, f"evaluation failed: {error}")
        return
    if any(reading.value is None for reading in readings):
        yield from _kept(this, key, rule, "; ".join(f"no data: {r.detail}" for r in readings if r.value is None))
        return
    seen = set()
    for reading in readings:
        row = _row(this, key, rule, reading)
        seen.add(row.fingerprint)
        yield row
    yield from _closed(this, key, seen, "it is watched no more")


def _row(this: _Pass, key: str, rule: AnyRule, reading: Reading) -> AlertRow:
    labels = {"alertname": key, "experiment": this.experiment.key, **reading.labels}
    instance = store.instance_of(this.known.get(fingerprint(labels)), this.now)
    return AlertRow(
        fingerprint=fingerprint(labels),
        experiment=this.experiment.key,
        rule=key,
        labels=labels,
        severity=rule.severity,
        summary=rule.summary,
        value=reading.value,
        outcome=evaluate(rule, reading, instance, this.now),
        was=instance.state,
    )


def _kept(this: _Pass, key: str, rule: AnyRule | None, why: str) -> Iterator[AlertRow]:
    """All alerts of a rule as they were; a rule without one gets a row, so that its silence is seen."""
    mine = [row for row in this.known.values() if row["rule"] == key]
    labels = {"alertname": key, "experiment": this.experiment.key}
    fresh = {
        "fingerprint": fingerprint(labels),
        "labels": labels,
        "severity": rule.severity if rule else "ticket",
        "summary": rule.summary if rule else "",
        "value": None,
    }
    for row in mine:
        instance = store.instance_of(row, this.now)
        yield _stored(this, key, row, Outcome(instance=instance, undecided=why))
    if not mine:
        yield _stored(this, key, fresh, Outcome(instance=store.instance_of(None, this.now), undecided=why))


def _closed(this: _Pass, key: str, seen: set[str], reason: str) -> Iterator[AlertRow]:
    """The end of a rule's alerts that are not among those seen."""
    for row in this.known.values():
        if row["rule"] == key and row["fingerprint"] not in seen:
            yield _stored(this, key, row, close(store.instance_of(row, this.now), this.now, reason))


def _stored(this: _Pass, key: str, row: Mapping[str, Any], outcome: Outcome) -> AlertRow:
    return AlertRow(
        fingerprint=row["fingerprint"],
        experiment=this.experiment.key,
        rule=key,
        labels=row["labels"],
        severity=row["severity"],
        summary=row["summary"],
        value=row["value"],
        outcome=outcome,
        was=row.get("state", "inactive"),
    )
