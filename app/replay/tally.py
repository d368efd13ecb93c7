"""What the replay has seen so far, counted on the client's side; shared by its threads."""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.replay.client import ArmReport, Decision

__all__ = ["ArmResult", "ReplayResult", "Tally"]

RECENT_DECISIONS = 1000
RECENT_S = 10.0


class ArmResult(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's row of the final table."""

    arm: str
    decisions: int
    share: float | None  # of all decisions
    recent_share: float | None  # of the last 1,000 decisions
    clicks: int
    reward_rate: float | None  # clicks per decision that was not a fallback
    expected: float | None  # the reward rate that the data promises
    probability_best: float | None  # as the service says


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay."""

    arms: tuple[ArmResult, ...]
    decisions: int
    seconds: float  # from the first decision to the last
    best_arm: str | None  # as the service says; else that with the highest reward rate
    best_share_10s: float | None  # of the last 10 seconds' decisions
    best_share_1000: float | None  # of the last 1,000 decisions
    fallbacks: int
    spooled: int
    retries: int
    failures: int  # requests given up or refused
    last_failure: str
    feedback: dict[str, int]  # events by the status that the service gave them
    interrupted: bool = False


class Tally:
    """Thread-safe counts."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._arms = list(arms)
        self._lock = threading.Lock()
        self._decisions: Counter[str] = Counter()
        self._clicks: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._feedback: Counter[str] = Counter()
        self._recent: deque[tuple[float, str]] = deque()
        self._last_failure = ""
        self._first = self._last = 0.0  # when decisions came, on the clock of time.monotonic

    @property
    def decisions(self) -> int:
        """How many decisions there were."""
        return self._decisions.total()

    def decided(self, decision: Decision, *, clicked: bool) -> None:
        """Count one decision. A fallback's click is not the chosen arm's merit."""
        with self._lock:
            now = self._last = time.monotonic()
            self._first = self._first or now
            self._decisions[decision.arm] += 1
            self._counts["spooled"] += decision.durability == "spooled"
            fallback = decision.reason == "fallback"
            self._fallbacks[decision.arm] += fallback
            self._clicks[decision.arm] += clicked and not fallback
            self._recent.append((now, decision.arm))
            while len(self._recent) > RECENT_DECISIONS and self._recent[0][0] < now - RECENT_S:
                self._recent.popleft()

    def retried(self) -> None:
        """Count one retry."""
        with self._lock:
            self._counts["retries"] += 1

    def failed(self, reason: str) -> None:
        """Count one request that came to nothing."""
        with self._lock:
            self._counts["failures"] += 1
            self._last_failure = reason

    def fed_back(self, statuses: Iterable[str]) -> None:
        """Count events by status."""
        with self._lock:
            self._feedback.update(statuses)

    def result(
        self,
        *,
        expected: Mapping[str, float] | None = None,
        reports: Mapping[str, ArmReport] | None = None,
        interrupted: bool = False,
    ) -> ReplayResult:
        """All counts as of now, beside what was expected and what the service reports."""
        with self._lock:
            latest = [arm for _, arm in self._recent][-RECENT_DECISIONS:]
            since = self._recent[-1][0] - RECENT_S if self._recent else 0.0
            rows = [self._row(arm, Counter(latest), expected or {}, reports or {}) for arm in self._all_arms()]
            best = _best(rows)
            return ReplayResult(
                arms=tuple(rows),
                decisions=self.decisions,
                seconds=self._last - self._first,
                best_arm=best,
                best_share_10s=_share(best, [arm for when, arm in self._recent if when >= since]),
                best_share_1000=_share(best, latest),
                fallbacks=self._fallbacks.total(),
                spooled=self._counts["spooled"],
                retries=self._counts["retries"],
                failures=self._counts["failures"],
                last_failure=self._last_failure,
                feedback=dict(self._feedback),
                interrupted=interrupted,
            )

    def _all_arms(self) -> list[str]:
        return self._arms + sorted(self._decisions.keys() - set(self._arms))

    def _row(
        self,
        arm: str,
        latest: Counter[str],
        expected: Mapping[str, float],
        reports: Mapping[str, ArmReport],
    ) -> ArmResult:
        shown = self._decisions[arm] - self._fallbacks[arm]
        return ArmResult(
            arm=arm,
            decisions=self._decisions[arm],
            share=self._decisions[arm] / self.decisions if self.decisions else None,
            recent_share=latest[arm] / latest.total() if latest else None,
            clicks=self._clicks[arm],
            reward_rate=self._clicks[arm] / shown if shown else None,
            expected=expected.get(arm),
            probability_best=reports[arm].probability_best if arm in reports else None,
        )


def _best(rows: Sequence[ArmResult]) -> str | None:
    """The arm that is best with the highest probability; else the one with the highest reward rate."""
    believed = [row for row in rows if row.probability_best is not None]
    if believed:
        return max(believed, key=lambda row: row.probability_best or 0.0).arm
    tried = [row for row in rows if row.reward_rate is not None]
    return max(tried, key=lambda row: row.reward_rate or 0.0).arm if tried else None


def _share(arm: str | None, decisions: Sequence[str]) -> float | None:
    return decisions.count(arm) / len(decisions) if arm is not None and decisions else None
