"""Why recommenders fail, as operators read it in the log."""

import logging

__all__ = ["FailureLog"]

log = logging.getLogger(__name__)

_REST_S = 10.0


class FailureLog:
    """Logs an arm's failures: at most a line in ten seconds, so that a dead model server does not fill the disk."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[float, int]] = {}  # when the last line was, and how many came since

    def note(self, experiment: str, arm: str, reason: str, *, now: float) -> None:
        """Takes one failure; `now` in seconds, of any clock that only goes forward."""
        last, since = self._last.get((experiment, arm), (-_REST_S, 0))
        if now - last < _REST_S:
            self._last[experiment, arm] = last, since + 1
            return
        self._last[experiment, arm] = now, 0
        facts = {"experiment": experiment, "arm": arm, "failures": since + 1}
        log.warning("recommender failed: %s", reason, extra=facts)
