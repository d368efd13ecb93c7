"""What an application calls."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from croupier_client.errors import Away
from croupier_client.http import Http
from croupier_client.ids import new_id
from croupier_client.outbox import Outbox
from croupier_client.shapes import Decision, Event, moment_now

__all__ = ["Client"]

log = logging.getLogger(__name__)

_FEEDBACK_TIMEOUT_S = 10.0


class Client:
    """Asks one service. Threads may share it; after a fork a process makes its own.

    Args:
        url: of the service, as http://localhost:8000.
        key: an API key with scopes `decide` and `reward`.
        timeout_s: for a recommendation, all tries together.
        tries: of a recommendation at most, with the same decision id.
        fallback: item ids for when the service does not answer in time.
        outbox_path: keeps feedback over a restart in this file, one for each process; None: in memory.
        outbox_capacity: the most events that wait; beyond it the oldest is dropped.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 0.5,
        tries: int = 2,
        fallback: Sequence[str] = (),
        outbox_path: Path | None = None,
        outbox_capacity: int = 10_000,
    ) -> None:
        self._http = Http(url, key)
        self._timeout_s = timeout_s
        self._tries = tries
        self._fallback = tuple(fallback)
        self.outbox = Outbox(self._send, capacity=outbox_capacity, path=outbox_path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def recommend(
        self, experiment: str, unit: str, *, k: int = 10, context: Mapping[str, Any] | None = None
    ) -> Decision:
        """An arm's items for a unit, or the fallback list when the service does not answer in time.

        Raises:
            Refused: the request is wrong; `problem` says where.
        """
        decision_id = new_id()
        body = {
            "decision_id": decision_id, "experiment": experiment, "unit": unit, "k": k, "context": dict(context or {}),
        }  # fmt: skip
        try:
            answer = self._http.post("/v1/recommendations", body, timeout_s=self._timeout_s, tries=self._tries)
        except Away as away:
            log.warning("the fallback list is given: %s", away)
            return Decision.without_service(decision_id, experiment, self._fallback[:k])
        return Decision.of(answer)

    def reward(
        self,
        decision: Decision,
        value: float,
        *,
        metric: str | None = None,
        item_id: str | None = None,
        position: int | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Tells what came of a decision; returns at once, and the event is sent in the background until it is taken.

        Args:
            decision: what it is about.
            value: a number that the experiment's reward model accepts.
            metric: None: the experiment's reward.
            item_id: which item of the list.
            position: where it stood, counted from 1.
            event_id: two events with one id count once; None: this is an event of its own.

        Returns:
            False when the decision is the client's own fallback list: then there is nobody to tell.
        """
        if decision.is_fallback:
            return False
        event = Event(
            decision_id=decision.decision_id,
            value=value,
            event_id=event_id or new_id(),
            occurred_at=moment_now(),
            metric=metric,
            item_id=item_id,
            position=position,
        )
        self.outbox.add(event.as_json())
        return True

    def flush(self) -> None:
        """Sends all feedback that waits.

        Raises:
            Away: the service does not answer; the events go on waiting.
        """
        self.outbox.flush()

    def close(self) -> None:
        """Sends what waits, if the service answers, and lets connections go."""
        self.outbox.close()
        self._http.close()

    def _send(self, events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        body = {"events": list(events)}
        answer = self._http.post("/v1/feedback", body, timeout_s=_FEEDBACK_TIMEOUT_S, tries=1)
        results: Sequence[Mapping[str, Any]] = answer["results"]
        return results
