"""What is watched of an experiment that has run for weeks: days by arm, drift, the quality of data, avatars."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from app.avatars import AvatarRequest, Expectation, operating
from app.recommenders import Static
from app.specification import Arm, Metric, Reward, Specification
from app.store import avatars, drift_results, metric_values, partitions
from app.store.database import Database
from app.store.drift_results import DATASET, DriftResult
from app.store.metric_values import Level, MetricValue
from bandits.thompson import ThompsonSampling
from tests.app.building import bucket_of, decision, execute, matched, record, write
from tests.running import Api

__all__ = ["LISTS", "avatar", "data_quality", "days", "drift", "log", "traffic"]

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_OFFLINE: Final = {
    "ndcg": 0.31, "hit_rate": 0.52, "novelty": 7.4, "intra_list_diversity": 0.61, "serendipity": 0.08,
    "coverage": 0.34, "popularity_quantile": 0.72, "personalization": 0.83,
}  # fmt: skip
_ONLINE: Final = {"ndcg": 0.42, "hit_rate": 0.18, "reward_rate": 0.045, "value_per_decision": 0.047, "exposures": 4800}
_BY_K: Final = {"ndcg", "hit_rate", *_OFFLINE}
_FIGURES: Final = {
    "missing_share": 0.012, "unseen_share": 0.004, "invalid_share": 0.002, "out_of_range_share": 0.0,
    "late_share": 0.31, "duplicate_share": 0.011, "unmatched_share": 0.003, "empty_list_share": 0.0,
    "short_list_share": 0.02, "unknown_item_share": 0.061, "silent_share": 0.94, "fallback_share": 0.013,
    "missing_share/context/device": 0.031, "missing_share/context/age": 0.009, "unseen_share/context/country": 0.012,
}  # fmt: skip

LISTS: Final = Specification(
    arms=tuple(
        Arm(key=key, recommender=Static(items=tuple(f"{key}-{number}" for number in range(1, 21))))
        for key in ("popular", "fresh", "similar")
    ),
    policy=ThompsonSampling(warm_up=5),
    reward=Reward(metric="click", window_s=1800),
    metrics=(Metric(key="revenue", level="business", aggregation="sum"),),
)
"""An experiment whose arms give lists, and which takes each outcome as it comes."""


def days(database: Database, key: str, arms: Sequence[str], now: datetime, *, count: int = 28, whole: int = 28) -> None:
    """Figures of days by arm, as the batch would have worked them out; before the `whole` newest ones of NDCG only."""
    rng = np.random.default_rng(1)
    levels: tuple[tuple[Level, dict[str, float]], ...] = (("offline", _OFFLINE), ("online", _ONLINE))
    midnight = datetime.combine(now.date(), datetime.min.time(), UTC)
    values = [
        MetricValue(
            experiment=key, level=level, window_start=midnight - back * _DAY, window_s=86_400, metric=metric, k=k,
            arm=arm, value=base * (1 + 0.05 * place) * float(rng.normal(1, 0.03)), n=4000,
        )
        for back in range(1, count + 1)
        for level, figures in levels
        for metric, base in {**figures, **({"decisions": 5000.0} if level == "online" else {})}.items()
        for k in ((1, 5, 10) if metric in _BY_K else (0,))
        for place, arm in enumerate(("", *arms))
        if back <= whole or (metric, k) == ("ndcg", 10)
    ]  # fmt: skip
    with database.transaction() as connection:
        metric_values.put(connection, values)


def data_quality(database: Database, key: str, now: datetime, *, windows: int = 72) -> None:
    """Figures of the data of closed hours."""
    rng = np.random.default_rng(2)
    values = []
    for start in _hours(now, windows):
        for metric, share in _FIGURES.items():
            value = min(share * float(rng.normal(1, 0.1)), 1.0)
            detail = {"count": round(value * 5000)}
            place: dict[str, Any] = {"experiment": key, "level": "data", "window_start": start, "window_s": 3600}
            values.append(MetricValue(**place, metric=metric, value=value, n=5000, detail=detail))
    with database.transaction() as connection:
        metric_values.put(connection, values)


def drift(database: Database, key: str, arms: Sequence[str], now: datetime, *, windows: int = 72) -> None:
    """Passes over closed hours: the device has drifted since a while."""
    rng = np.random.default_rng(3)
    with database.transaction() as connection:
        for number, start in enumerate(_hours(now, windows)):
            drift_results.replace(connection, list(_pass(key, arms, start, rng, drifted=number > windows - 8)))


def avatar(database: Database, key: str, name: str, now: datetime, *, unit: str, looks: int = 12) -> None:
    """An avatar of the experiment `LISTS`, looked at some times."""
    expected = Expectation(min_items=5, must_include=("fresh-1",))
    wanted = AvatarRequest(unit=unit, context={"device": "phone"}, k=5, expect=expected)
    operating.put(database, key, name, wanted, now - _HOUR, actor="ana")
    for back in range(looks, 0, -1):
        with database.transaction() as connection:
            claimed = avatars.claim(connection, now - back * timedelta(minutes=5))
            assert claimed is not None
            avatars.save(connection, claimed, [_look(arm, back) for arm in ("popular", "fresh", "similar")])


def log(database: Database, key: str, now: datetime, *, units: int = 60, rounds: int = 12) -> None:
    """Decisions of the last days for some units, and feedback for them: `fresh` is liked most."""
    rng = np.random.default_rng(4)
    rates = {"popular": 0.25, "fresh": 0.4, "similar": 0.2}
    shares = {"popular": 0.3, "fresh": 0.5, "similar": 0.2}
    rows, events = [], []
    for number in range(units * rounds):
        arm = str(rng.choice([*shares], p=[*shares.values()]))
        at = now - timedelta(hours=1 + 71 * number / (units * rounds))
        unit, device = number % units, "phone" if number % 3 else "desktop"
        row = decision(
            key, arm=arm, unit=f"reader-{unit}", propensity=shares[arm], decided_at=at, bucket=bucket_of(at, 3600),
            items=tuple(f"{arm}-{place}" for place in range(1, 6)), scores=(5.0, 4.0, 3.0, 2.0, 1.0),
            context={"device": device}, latency_ms=2.4,
        )  # fmt: skip
        clicked = rng.random() < rates[arm] * (0.6 + 0.8 * unit / units)
        rows.append(row)
        events.append(matched(row, float(clicked), item_id=f"{arm}-1", occurred_at=at + timedelta(minutes=2)))
        if clicked:
            spent = float(round(rng.exponential(8), 2))
            events.append(
                matched(row, spent, metric="revenue", aggregation="sum", occurred_at=at + timedelta(minutes=9))
            )
    with database.transaction() as connection:
        partitions.make_partitions(connection, now - timedelta(days=2))
    began = "UPDATE experiments SET created_at = :at WHERE key = :key"
    execute(database, began, at=now - timedelta(days=4), key=key)
    record(database, rows)
    write(database, events)


def traffic(api: Api, key: str, *, units: int = 40) -> None:
    """Decisions of now, one a request, so that processes have something to count."""
    for number in range(units):
        api.post("/v1/recommendations", {"experiment": key, "unit": f"visitor-{number}", "k": 5}).ok()


def _hours(now: datetime, count: int) -> list[datetime]:
    newest = now.replace(minute=0, second=0, microsecond=0) - _HOUR
    return [newest - back * _HOUR for back in range(count - 1, -1, -1)]


def _pass(
    key: str, arms: Sequence[str], start: datetime, rng: np.random.Generator, *, drifted: bool
) -> Iterator[DriftResult]:
    place: dict[str, Any] = {
        "experiment": key, "window_start": start, "window_s": 3600, "reference_start": start - 7 * _DAY,
        "reference_end": start, "n": 1840,
    }  # fmt: skip
    share = 1 / 3 if drifted else 0.0
    yield DriftResult(
        **place, feature=DATASET, test="share", kind="dataset", value=share, threshold=0.5, drifted=share >= 0.5
    )
    words = {"labels": ["phone", "desktop", "tablet", "tv"], "reference": [9000, 7000, 900, 100]}
    now_words = [1500, 250, 80, 10] if drifted else [950, 770, 100, 20]
    yield _tested(
        place, "context/device", "jensen_shannon", 0.21 if drifted else 0.01, rng, moved="phone", drifted=drifted,
        histogram={**words, "current": now_words},
    )  # fmt: skip
    bell = np.exp(-((np.arange(20) - 9.5) ** 2) / 18)
    numbers = {"edges": np.linspace(16, 80, 21).tolist(), "reference": (bell * 2000).astype(int).tolist()}
    for feature in ("context/age", "context/visits", *(f"score/{arm}" for arm in arms)):
        current = rng.poisson(bell * 230).tolist()
        yield _tested(place, feature, "wasserstein", 0.03, rng, moved="mean", histogram={**numbers, "current": current})
    for arm in arms:
        flags = {"labels": ["0", "1"], "reference": [15_000, 700], "current": [1760, 80]}
        yield _tested(place, f"reward/{arm}", "jensen_shannon", 0.02, rng, moved="1", histogram=flags)
        yield DriftResult(
            **place, feature=f"reward/{arm}", test="page_hinkley", kind="binary", value=8.0, threshold=40.0,
            moved="mean", change=0.0004,
        )  # fmt: skip


def _tested(
    place: dict[str, Any], feature: str, test: str, value: float, rng: np.random.Generator, **parts: Any
) -> DriftResult:
    p = 1e-9 if parts.get("drifted") else float(rng.uniform(0.2, 0.9))
    shown: dict[str, Any] = {
        "kind": "numeric",
        "threshold": 0.1,
        "p": p,
        "p_adjusted": p,
        "direction": "up",
        "change": value,
    }
    return DriftResult(
        **place, feature=feature, test=test, value=value * float(rng.uniform(0.9, 1.1)), **shown, **parts
    )


def _look(arm: str, back: int) -> avatars.Look:
    items = tuple(f"{arm}-{number}" for number in range(1, 6))
    is_wrong = arm != "fresh" and back < 3
    return avatars.Look(
        arm=arm, items=items, payload=None, latency_ms=3.5, failure=None, overlap=0.8, came=(f"{arm}-5",),
        went=(f"{arm}-6",), fault="'fresh-1' is not in the list" if is_wrong else None,
        faults=3 - back if is_wrong else 0,
    )  # fmt: skip
