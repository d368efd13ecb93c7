"""Drives a world's users against a running service, over HTTP only, and counts what was sent."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any

from app.ids import new_id
from app.replay.clicks import ClickQueue
from app.replay.client import Client, Decision, FeedbackEvent, RequestRefused, ServiceAway
from app.replay.pacing import Patience, Stopped
from app.replay.report import LiveReport
from app.replay.tally import Tally
from app.simulation.arrivals import Arrival
from app.simulation.visits import AGAIN, Plan, Sent, Visit, unit_and_conditions, visit

__all__ = ["Counts", "Traffic"]

SHOW_EVERY_S = 0.5


class Counts:
    """Thread-safe counts of what was sent: people by phase, in tallies; and of everything, by name."""

    def __init__(self, arms: Sequence[str]) -> None:
        self.before, self.after = Tally(arms), Tally(arms)
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count some more."""
        with self._lock:
            self._sent[name] += count

    @property
    def sent(self) -> dict[str, int]:
        """All counts by name."""
        with self._lock:
            return dict(sorted(self._sent.items()))


class Traffic:
    """One run.

    Args:
        plan: what to send.
        client: of the service.
        counts: what is sent is counted here.
        patience: how calls are repeated.
        stop: set when interrupted: what is queued is then sent at once.
    """

    def __init__(self, plan: Plan, client: Client, counts: Counts, patience: Patience, stop: threading.Event) -> None:
        self._plan, self._client, self._counts = plan, client, counts
        self._patience, self._stop = patience, stop
        self._events: ClickQueue[FeedbackEvent] = ClickQueue(self._send_events, stop)
        self._exposures: ClickQueue[str] = ClickQueue(self._send_exposures, stop)
        self._lock = threading.Lock()

    def run(self, arrivals: Iterator[Arrival], started: float, live: LiveReport, concurrency: int) -> None:
        """Serve all arrivals, each at its time after `started` (of time.monotonic), and send what follows from them."""
        with live, ThreadPoolExecutor(concurrency + 2, "simulation") as threads:
            queues = (self._events, self._exposures)
            senders = [threads.submit(queue.run) for queue in queues]
            try:
                users = [threads.submit(self._serve_all, arrivals, started) for _ in range(concurrency)]
                self._watch(users, live)
            finally:
                for queue in queues:
                    queue.close()
            self._watch(senders, live)

    def _watch(self, futures: Sequence[Future[None]], live: LiveReport) -> None:
        """Keep the display up to date until all threads are done; a defect in one of them ends them all."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, SHOW_EVERY_S, FIRST_EXCEPTION)
            phase = "with the fault" if self._counts.after.decisions else "before the fault"
            people = self._counts.before.decisions + self._counts.after.decisions
            live.update(people, f"{self._plan.scenario.name}, {phase if self._plan.scenario.signal else 'no fault'}")
            if any(future.exception() for future in done):
                self._stop.set()
        for future in futures:
            future.result()

    def _serve_all(self, arrivals: Iterator[Arrival], started: float) -> None:
        """Serve one arrival after the other; one of these runs in each thread."""
        while not self._stop.is_set():
            with self._lock:
                arrival = next(arrivals, None)
            if arrival is None or self._stop.wait(max(0.0, started + arrival.at_s - time.monotonic())):
                return
            try:
                self._serve(arrival)
            except Stopped:
                return
            except (ServiceAway, RequestRefused) as failure:
                self._tally(arrival).failed(failure.detail)

    def _serve(self, arrival: Arrival) -> None:
        """Ask for a decision; queue its confirmation and what the user does."""
        unit, conditions = unit_and_conditions(self._plan, arrival)
        decision = self._ask(unit, self._plan.world.context(arrival.user, conditions.audience))
        follows = visit(
            self._plan,
            arrival,
            arm=decision.arm,
            fell_back=decision.reason == "fallback",
            items=[item.item_id for item in decision.items],
        )
        self._counts.add("decisions")
        if arrival.bot is None:
            self._tally(arrival).decided(decision, clicked=follows.clicked)
        else:
            self._counts.add("bot_decisions")
        self._queue(decision, follows)

    def _ask(self, unit: str, context: Mapping[str, Any]) -> Decision:
        request = {
            "experiment": self._plan.experiment,
            "unit": unit,
            "k": self._plan.k,
            "context": context,
            "decision_id": str(new_id()),
        }
        return self._patience(lambda: self._client.recommend(request))

    def _queue(self, decision: Decision, follows: Visit) -> None:
        """Queue the confirmation, unless it gets lost, and all events."""
        if follows.confirmed:
            self._exposures.add(decision.decision_id, delay_s=0.0)
        elif follows.confirmed is False:
            self._counts.add("exposures_lost")
        for sent in follows.events:
            self._events.add(_event(decision, sent), delay_s=sent.due_s)
            if sent.event_id.endswith(AGAIN):
                self._counts.add("events_repeated")

    def _send_events(self, events: Sequence[FeedbackEvent]) -> None:
        self._send("events", len(events), lambda: self._client.feedback_batch(events))

    def _send_exposures(self, decision_ids: Sequence[str]) -> None:
        self._send("exposures", len(decision_ids), lambda: self._client.exposures_batch(decision_ids))

    def _send(self, what: str, count: int, call: Callable[[], list[str]]) -> None:
        """Send a batch, and count it by the status of each of its events."""
        try:
            statuses = self._patience(call)
        except (Stopped, ServiceAway, RequestRefused):
            self._counts.add(f"{what}_not_sent", count)
            return
        self._counts.add(what, count)
        for status, times in Counter(statuses).items():
            self._counts.add(f"{what}_{status}", times)

    def _tally(self, arrival: Arrival) -> Tally:
        """The tally of its phase."""
        faulty = self._plan.scenario.faulty(arrival.at_s / self._plan.duration_s)
        return self._counts.after if faulty else self._counts.before


def _event(decision: Decision, sent: Sent) -> FeedbackEvent:
    action = sent.action
    return FeedbackEvent(
        decision_id=decision.decision_id,
        metric=action.metric,
        value=action.value,
        event_id=sent.event_id,
        item_id=decision.items[action.row].item_id,
        position=action.row + 1,
        occurred_at=datetime.fromtimestamp(time.time() + action.delay_s, UTC).isoformat(timespec="milliseconds"),
    )
