"""Fills a database with experiments that have run for weeks, in bulk: as the tables would be after compaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from app import experiments
from app.specification import Arm, Metric, Reward, Specification, State
from app.store import quarantine
from app.store import tables as t
from app.store.database import Database, cursor_of
from app.store.experiments import Experiment
from app.store.quarantine import Entry

__all__ = ["History", "alert", "fill", "reject"]

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_LATEST_ALLOCATIONS = 150


@dataclass(frozen=True, kw_only=True)
class History:
    """What an experiment has been through.

    Attributes:
        rates: the true reward rate by arm; the first arm is the control.
        days: how long it has run.
        per_day: decisions.
        policy: how its arms' shares move: towards the best by the end, or not at all.
        state: at the end.
        business: whether it has a business metric, `revenue`.
        seed: of chance.
    """

    rates: Mapping[str, float]
    days: float = 21.0
    per_day: int = 20_000
    converges: bool = True
    state: State = "running"
    business: bool = True
    seed: int = 1


def fill(database: Database, key: str, history: History, now: datetime) -> Experiment:
    """An experiment with its history."""
    reward = Reward(metric="click", window_s=1800)
    metrics = (Metric(key="revenue", level="business", aggregation="sum"), Metric(key="dwell", aggregation="max"))
    specification = Specification(
        arms=tuple(Arm(key=arm) for arm in history.rates), reward=reward, metrics=metrics if history.business else ()
    )
    experiment = experiments.put(database, key, specification, state="running", if_match=None, actor="deploy-bot")[0]
    rng = np.random.default_rng(history.seed)
    counts, outcomes = _counted(experiment, history, now, rng)
    numbers = _allocations(experiment, history, now)
    began = now - timedelta(days=history.days)
    with database.transaction() as connection:
        connection.execute(sa.update(t.experiments).where(t.experiments.c.key == key).values(created_at=began))
        connection.execute(sa.update(t.audit_log).where(t.audit_log.c.subject == key).values(at=began))
        connection.execute(sa.delete(t.allocations).where(t.allocations.c.experiment == key))
        connection.execute(sa.insert(t.allocations), numbers)
        connection.execute(sa.insert(t.decision_counts), counts)
        connection.execute(sa.insert(t.arm_statistics), outcomes)
        last = numbers[-1]["number"]
        connection.execute(sa.update(t.experiments).where(t.experiments.c.key == key).values(allocation=last))
    if history.state != "running":
        experiments.change_state(database, key, "pause" if history.state == "paused" else "stop", actor="ana")
    return experiment


def alert(
    database: Database,
    experiment: str,
    rule: str,
    now: datetime,
    *,
    severity: str = "page",
    state: str = "firing",
    **labels: str,
) -> int:
    """An alert that has flipped there and back days ago, and has the given state since an hour."""
    flips = [("inactive", "firing", 6 * 24), ("firing", "resolved", 5 * 24), ("resolved", state, 1)]
    row = {
        "fingerprint": "/".join([experiment, rule, *labels.values()]),
        "experiment": experiment,
        "rule": rule,
        "labels": {"experiment": experiment, "alertname": rule, **labels},
        "severity": severity,
        "summary": f"What {rule} is about",
        "state": state,
        "since": now - _HOUR,
        "value": 0.12,
        "reason": "0.12 is above 0.05",
        "evaluated_at": now,
    }
    with database.transaction() as connection:
        number: int = connection.execute(sa.insert(t.alerts).values(**row).returning(t.alerts.c.id)).scalar_one()
        rows = [
            {"alert": number, "before": a, "after": b, "value": 0.12, "reason": "it is so", "at": now - hours * _HOUR}
            for a, b, hours in flips
        ]
        connection.execute(sa.insert(t.alert_flips), rows)
    return number


def reject(database: Database, experiment: str, arm: str, count: int) -> None:
    """Events in quarantine."""
    entries = [
        Entry(
            fingerprint=f"{experiment}/{number}",
            kind="feedback",
            reason="unknown_metric",
            detail="the experiment has no metric 'clik'",
            payload={"metric": "clik", "value": 1},
            experiment=experiment,
            epoch=1,
            arm=arm,
        )
        for number in range(count)
    ]
    with database.transaction() as connection:
        quarantine.keep(cursor_of(connection), entries)


def _buckets(days: float, now: datetime) -> Iterator[tuple[datetime, float]]:
    """Days, then the hours of two days: starts, and widths in days."""
    midnight = datetime.combine(now.date(), datetime.min.time(), UTC)
    for back in range(int(days), 1, -1):
        yield midnight - back * _DAY, 1.0
    hour = midnight - _DAY
    while hour + _HOUR <= now:
        yield hour, 1 / 24
        hour += _HOUR


def _shares(history: History, passed: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How traffic is split after a part of the time, 0 to 1."""
    rates = np.array([*history.rates.values()])
    scores = np.log(rates) * 12 * passed * history.converges
    shares = np.exp(scores - scores.max()) + 0.02
    return np.asarray(shares / shares.sum())


def _counted(
    experiment: Experiment, history: History, now: datetime, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    arms, rates = [*history.rates], np.array([*history.rates.values()])
    began = now - timedelta(days=history.days)
    counts: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for at, width in _buckets(history.days, now):
        p = _shares(history, max((at - began) / (now - began), 0.0))
        wave = 1 + 0.35 * np.sin(2 * np.pi * (at.hour + 24 * at.weekday() / 7) / 24)
        n = rng.multinomial(rng.poisson(history.per_day * width * wave), p)
        clicks = rng.binomial(n, np.clip(rates * (1 + 0.08 * np.sin(at.toordinal())), 0, 1))
        place = {"experiment": experiment.key, "epoch": 1, "allocation": 0, "bucket": at, "shard": -1}
        total = int(n.sum())
        for i, arm in enumerate(arms):
            counts.append({**place, "arm": arm, **_count(int(n[i]), total, p, rates, i)})
            revenue = float(clicks[i]) * (2 + i / len(arms))
            for metric, k, value in (("click", int(clicks[i]), float(clicks[i])), ("revenue", int(clicks[i]), revenue)):
                if metric == "click" or history.business:
                    sums = {"n": k, "sum": value, "sum_of_squares": value * value / max(k, 1), "corrected": k // 90}
                    outcomes.append({**place, "arm": arm, "metric": metric, "repeated": False, **sums})
    return counts, outcomes


def _count(n: int, total: int, p: Any, rates: Any, i: int) -> dict[str, Any]:
    contrast = rates[i] - rates[0]
    return {
        "repeated": False,
        "decisions": n + n // 80,
        "exposures": n,
        "fallbacks": n // 80,
        "chosen": n,
        "expected": total * float(p[i]),
        "variance": total * float(p[i] * (1 - p[i])),
        "eligible": float(total),
        "score": total * float(rates[i]),
        "score_squares": total * float(rates[i] / p[i]),
        "paired": float(total) if i else 0.0,
        "contrast": total * float(contrast) if i else 0.0,
        "contrast_squares": total * float(rates[i] / p[i] + rates[0] / p[0]) if i else 0.0,
    }


def _allocations(experiment: Experiment, history: History, now: datetime) -> list[dict[str, Any]]:
    arms: Sequence[str] = [*history.rates]
    began = now - timedelta(days=history.days)
    count = min(_LATEST_ALLOCATIONS, 10 + int(history.days * 6))
    rows = []
    for number in range(1, count + 1):
        passed = number / count
        n = history.per_day * history.days * passed * _shares(history, passed / 2)
        sums = [{"n": float(x), "mature": float(x)} for x in n]
        for s, rate in zip(sums, history.rates.values(), strict=True):
            s |= {"sum": s["n"] * rate, "sum_of_squares": s["n"] * rate}
        at = began + (now - began) * (number - 1) / count
        rows.append(
            {
                "experiment": experiment.key,
                "number": number,
                "version": 1,
                "epoch": 1,
                "reason": "warm_up" if number == 1 else "learned",
                "probabilities": dict(zip(arms, _shares(history, passed).tolist(), strict=True)),
                "posterior": {arm: {} for arm in arms},
                "evidence": dict(zip(arms, sums, strict=True)),
                "means": msgspec.to_builtins(dict(history.rates)),
                "data_as_of": at,
                "created_at": at,
            }
        )
    return rows
