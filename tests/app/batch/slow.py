"""Every figure of a window worked out decision by decision in plain Python: nothing is shared with the batch."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any
from uuid import UUID

from app.store.decisions import DecisionRow
from tests.app.batch.stream import ITEMS, MEANS, Stream

Found = dict[tuple[str, str, int, str], tuple[float | None, int]]
Vectors = dict[str, Sequence[float]]

FLOOR = 0.01


def figures(stream: Stream, start: datetime, width: Any, ks: Sequence[int], vectors: Vectors) -> Found:
    """By level, metric, k and arm: the value and how much it rests on."""
    return _Slow(stream, start, width, vectors).all(ks)


class _Slow:
    def __init__(self, stream: Stream, start: datetime, width: Any, vectors: Vectors) -> None:
        self.stream, self.vectors = stream, vectors
        self.rows = [d for d in stream.decisions if start <= d.decided_at < start + width]
        self.found: Found = {}
        self.metric = stream.spec.reward.metric
        self.liked_now: dict[str, set[str]] = {}
        for d in self.rows:
            self.liked_now.setdefault(d.unit, set()).update(self.liked(d.decision_id, d.items))
        self.liked_before: dict[str, set[str]] = {}
        for d in stream.decisions:
            if start - 7 * width <= d.decided_at < start:
                for e in stream.events[d.decision_id]:
                    if e.occurred_at < start:
                        liked = self._item(e, d.items)
                        if liked:
                            self.liked_before.setdefault(d.unit, set()).add(liked)
        self.arms = sorted({arm for d in self.rows for arm in (d.arm, d.served_arm) if arm})

    def _item(self, e: Any, listed: Sequence[str]) -> str | None:
        if e.metric != self.metric or e.value <= 0:
            return None
        if e.item_id is not None:
            return str(e.item_id)
        return listed[e.position - 1] if e.position is not None and e.position <= len(listed) else None

    def liked(self, decision_id: UUID, listed: Sequence[str]) -> set[str]:
        return {item for e in self.stream.events[decision_id] if (item := self._item(e, listed))}

    def of(self, d: DecisionRow) -> list[Any]:
        return [e for e in self.stream.events[d.decision_id] if e.metric == self.metric]

    def counts(self, d: DecisionRow) -> bool:
        return d.learnable and (not d.awaits_confirmation or d.decision_id in self.stream.confirmed)

    def put(self, level: str, metric: str, arm: str, values: Sequence[float | None], k: int = 0) -> None:
        known = [value for value in values if value is not None]
        self.found[level, metric, k, arm] = (math.fsum(known) / len(known) if known else None, len(known))

    def all(self, ks: Sequence[int]) -> Found:
        for arm in ("", *self.arms):
            self._online(arm, [d for d in self.rows if arm in {"", d.arm}], ks)
            self._offline(arm, [d for d in self.rows if arm in {"", d.served_arm}], ks)
        share = [float(not any(item in liked for liked in self.liked_before.values())) for item in ITEMS]
        self.put("offline", "cold_item_share", "", share if self.liked_before else [])
        return self.found

    # ---- what came of the lists that were shown

    def _online(self, arm: str, rows: list[DecisionRow], ks: Sequence[int]) -> None:
        def put(metric: str, values: Sequence[float | None], k: int = 0) -> None:
            self.put("online", metric, arm, values, k)

        exposed = [d for d in rows if self.counts(d)]
        drawn = [d for d in rows if d.learnable or d.propensity < 1]
        self.found["online", "decisions", 0, arm] = (len(rows), len(rows))
        self.found["online", "exposures", 0, arm] = (len(exposed), len(exposed))
        put("fallback_share", [float(d.served_arm != d.arm) for d in rows])
        put("floor_share", [float(d.propensity <= FLOOR) for d in drawn])
        behind = [max(MEANS[d.allocation].values()) - MEANS[d.allocation][d.arm] for d in drawn]
        put("exploration_share", [float(cost > 0) for cost in behind])
        self.found["online", "opportunity_cost", 0, arm] = (math.fsum(behind) if drawn else None, len(drawn))
        rewards = [self._reward(d) for d in exposed]
        put("value_per_decision", rewards)
        put("reward_rate", [None if value is None else float(value > 0) for value in rewards])
        put("feedback_coverage", [float(bool(self.of(d))) for d in exposed])
        delays = sorted(
            max(0.0, (min(e.occurred_at for e in self.of(d)) - d.decided_at).total_seconds())
            for d in exposed if self.of(d)
        )  # fmt: skip
        for percent in (50, 90, 99):
            name = f"time_to_feedback_p{percent}"
            self.found["online", name, 0, arm] = (_quantile(delays, percent / 100) if delays else None, len(delays))
        listing = [d for d in rows if any(e.items for e in self.rows if e.arm == d.arm)]
        put("empty_share", [float(not d.items) for d in listing])
        shown = [d for d in exposed if d.items]
        units = Counter(d.unit for d in shown)
        self.found["online", "exposures_per_unit", 0, arm] = (
            len(shown) / len(units) if units else None, len(units)
        )  # fmt: skip
        seen: set[tuple[str, str]] = set()
        again: list[float | None] = []
        for d in shown:
            for item in _distinct(d.items[: max(ks)]):
                again.append(float((d.unit, item) in seen))
                seen.add((d.unit, item))
        put("repeat_share", again)
        for k in ks:
            put("short_share", [float(len(_distinct(d.items[:k])) < k) for d in listing if d.items], k)
            judged = [(_hits(d.items, k, liked), len(liked)) for d in listing if self.counts(d)
                      for liked in [self.liked(d.decision_id, d.items)]]  # fmt: skip
            for name, score in _SCORES.items():
                silence = 0.0 if name in {"hit_rate", "precision", "reciprocal_rank"} else None
                put(name, [score(hits, n, k) if n else silence for hits, n in judged], k)

    def _reward(self, d: DecisionRow) -> float | None:
        reward, values = self.stream.spec.reward, [e.value for e in self.of(d)]
        if not values:
            return None if reward.missing == "explicit" else reward.default
        return math.fsum(values) if reward.aggregation == "sum" else float(any(values))

    # ---- lists judged by what their units liked, and by what was known before

    def _offline(self, arm: str, rows: list[DecisionRow], ks: Sequence[int]) -> None:
        listing = [d for d in rows if any(e.items for e in self.rows if e.served_arm == d.served_arm)]
        cold = [float(not self.liked_before.get(unit)) for unit in {d.unit for d in listing}]
        self.put("offline", "cold_unit_share", arm, cold)
        for k in ks:
            self._offline_at(arm, listing, k)

    def _offline_at(self, arm: str, rows: list[DecisionRow], k: int) -> None:
        def put(metric: str, values: Sequence[float | None]) -> None:
            self.put("offline", metric, arm, values, k)

        def put_one(metric: str, value: float | None, n: int) -> None:
            self.found["offline", metric, k, arm] = (value, n)

        judged = [(_hits(d.items, k, self.liked_now[d.unit]), len(self.liked_now[d.unit])) for d in rows]
        for name, score in _SCORES.items():
            put(name, [score(hits, n, k) if n else None for hits, n in judged])
        lists = [[item for item in _distinct(d.items[:k]) if item in ITEMS] for d in rows]
        put("serendipity", [self._serendipity(d.unit, listed) for d, listed in zip(rows, lists, strict=True)])
        put("intra_list_diversity", [self._diversity(listed) for listed in lists])
        self._popularity(put, put_one, lists)
        full = [listed for listed in lists if listed]
        pairs = [len({*a} & {*b}) / math.sqrt(len(a) * len(b)) for a, b in combinations(full, 2)]
        put_one("personalization", 1 - math.fsum(pairs) / len(pairs) if pairs else None, len(full))
        put("with_list_share", [float(bool(listed)) for listed in lists])
        put("full_share", [float(len(listed) == k) for listed in lists])
        known = [[item for item in d.items[:k] if item in ITEMS] for d in rows]
        put("repeats_share", [float(len({*listed}) < len(listed)) for listed in known])
        put("mean_fill", [len(listed) / k for listed in lists])
        put("unknown_share", [float(item not in ITEMS) for d in rows for item in d.items[:k]])
        exposure = Counter(item for listed in lists for item in listed)
        total, n = sum(exposure.values()), len(rows)
        shares = [count / total for count in exposure.values()]
        entropy = -math.fsum(p * math.log2(p) for p in shares) if shares else None
        put_one("coverage", len(exposure) / len(ITEMS) if n else None, n)
        put_one("coverage_entropy", entropy, n)
        put_one("normalised_entropy", None if entropy is None else entropy / math.log2(len(ITEMS)), n)
        counts = [exposure[item] for item in ITEMS]
        gaps = sum(abs(a - b) for a in counts for b in counts)  # the definition of Gini's mean difference
        put_one("gini", gaps / (2 * len(ITEMS) * total) if total else None, n)

    def _popularity(
        self,
        put: Callable[[str, Sequence[float | None]], None],
        put_one: Callable[[str, float | None, int], None],
        lists: list[list[str]],
    ) -> None:
        users = len(self.liked_before)
        pop = {item: sum(item in liked for liked in self.liked_before.values()) for item in ITEMS}
        slots = [item for listed in lists for item in listed]
        n = sum(bool(listed) for listed in lists)
        if not users:
            for name in ("novelty", "unseen_share", "average_popularity", "popularity_quantile", "long_tail_share"):
                put_one(name, None, 0)
            return

        def mean(of: Callable[[str], float]) -> list[float | None]:
            return [math.fsum(map(of, listed)) / len(listed) if listed else None for listed in lists]

        def quantile(item: str) -> float:
            below, equal = (sum(test(pop[other]) for other in ITEMS) for test in (pop[item].__gt__, pop[item].__eq__))
            return (below + equal / 2) / len(ITEMS)

        def tail(item: str) -> float:
            return float(sum(v for v in pop.values() if v > pop[item]) >= 0.8 * sum(pop.values()))

        put("novelty", mean(lambda item: -math.log2(max(pop[item], 1) / users)))
        put("average_popularity", mean(lambda item: pop[item] / users))
        put("popularity_quantile", mean(quantile))
        put_one("unseen_share", sum(pop[item] == 0 for item in slots) / len(slots) if slots else None, n)
        put_one("long_tail_share", sum(map(tail, slots)) / len(slots) if slots else None, n)

    def _serendipity(self, unit: str, listed: list[str]) -> float | None:
        past = self.liked_before.get(unit)
        if not past or not listed:
            return None
        liked = self.liked_now[unit]
        gains = [
            1 - math.fsum(_cosine(self.vectors.get(item), self.vectors.get(other)) for other in past) / len(past)
            for item in listed if item in liked
        ]  # fmt: skip
        return math.fsum(gains) / len(listed)

    def _diversity(self, listed: list[str]) -> float | None:
        pairs = [(self.vectors[a], self.vectors[b]) for a, b in combinations(listed, 2)
                 if a in self.vectors and b in self.vectors]  # fmt: skip
        return math.fsum(1 - _cosine(a, b) for a, b in pairs) / len(pairs) if pairs else None


def _distinct(listed: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(listed))


def _hits(listed: Sequence[str], k: int, liked: set[str]) -> list[int]:
    """Ranks, from 1, at which an item stands for the first time that is liked."""
    cut = list(listed[:k])
    return [rank for rank, item in enumerate(cut, start=1) if item in liked and cut.index(item) == rank - 1]


def _quantile(ordered: Sequence[float], q: float) -> float:
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _cosine(a: Sequence[float] | None, b: Sequence[float] | None) -> float:
    if a is None or b is None:
        return 0.0
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def _dcg(ranks: Sequence[int]) -> float:
    return math.fsum(1 / math.log2(rank + 1) for rank in ranks)


_SCORES: dict[str, Callable[[list[int], int, int], float]] = {
    "precision": lambda hits, _, k: len(hits) / k,
    "recall": lambda hits, n, _: len(hits) / n,
    "hit_rate": lambda hits, _n, _k: float(bool(hits)),
    "average_precision": lambda hits, n, _: math.fsum((i + 1) / rank for i, rank in enumerate(hits)) / n,
    "ndcg": lambda hits, n, k: _dcg(hits) / _dcg(range(1, min(n, k) + 1)),
    "reciprocal_rank": lambda hits, _n, _k: 1 / hits[0] if hits else 0.0,
}
