"""How often something may happen."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Lets through `rate_per_s` a second on average, and after a pause what comes in one second (at least one) at once.

    Args:
        rate_per_s: above 0.
        now: monotonic seconds.
    """

    def __init__(self, rate_per_s: float, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._most = max(1.0, rate_per_s)
        self._left = self._most
        self._at = now

    def take(self, now: float) -> float:
        """Takes one; returns 0, or after how many seconds there will be one."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate_per_s)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate_per_s
        self._left -= 1
        return 0.0

    def owe(self, count: int) -> None:
        """Takes so many more than there may be: they are waited for by whoever comes next."""
        self._left -= count
