"""When to leave a failing server alone: a circuit breaker, and a budget for retries. Time is an argument, seconds."""

from collections import deque

__all__ = ["CircuitBreaker", "RetryBudget"]

_WINDOW_S = 10.0
_LAST_CALLS = 20
_LEAST_CALLS = 10
_FAILURE_SHARE = 0.5
_FIRST_REST_S = 1.0
_LONGEST_REST_S = 8.0


class CircuitBreaker:
    """Closed: calls are made. Open: none is, for a rest. Then one call probes, and closes it or opens it again.

    It opens when half of the last 20 calls within 10 s failed, and these were 10 at least. The first rest takes a
    second, each further one twice as long, up to 8. (Nygard, Release It!, 2nd ed., section 5.2.)
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[float, bool]] = deque(maxlen=_LAST_CALLS)
        self._rest_s = _FIRST_REST_S
        self._open_until: float | None = None
        # Changes with each opening and probe: what began before has no say afterwards.
        self._period = 0

    def admit(self, now: float) -> int | None:
        """What the call's outcome is to be recorded with; None when no call may be made."""
        if self._open_until is None:
            return self._period
        if now < self._open_until:
            return None
        # Should this probe never come back, another one follows.
        self._open_until = now + self._rest_s
        self._period += 1
        return self._period

    def record(self, period: int, now: float, *, ok: bool) -> None:
        """Takes the outcome of an admitted call."""
        if period != self._period:
            return
        if self._open_until is not None:
            if ok:
                self._close()
            else:
                self._open(now, min(2 * self._rest_s, _LONGEST_REST_S))
            return
        self._calls.append((now, ok))
        if not ok and self._fails_often(now):
            self._open(now, _FIRST_REST_S)

    def _fails_often(self, now: float) -> bool:
        recent = [ok for at, ok in self._calls if now - at < _WINDOW_S]
        return len(recent) >= _LEAST_CALLS and recent.count(False) >= _FAILURE_SHARE * len(recent)

    def _open(self, now: float, rest_s: float) -> None:
        self._rest_s = rest_s
        self._open_until = now + rest_s
        self._period += 1

    def _close(self) -> None:
        self._open_until = None
        self._calls.clear()


class RetryBudget:
    """Retries for a tenth of all calls, and ten more: those of a short fault are retried, those of a long one not."""

    _PER_CALL = 0.1
    _MOST = 10.0

    def __init__(self) -> None:
        self._left = self._MOST

    def earn(self) -> None:
        """Counts a call."""
        self._left = min(self._left + self._PER_CALL, self._MOST)

    def spend(self) -> bool:
        """Whether one more retry may be made; if so, it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
