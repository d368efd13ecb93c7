"""Replays a scenario against a running service, over HTTP only, as many users at once would use it."""

import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType

import msgspec
from rich.console import Console

from app.ids import new_id
from app.replay.clicks import ClickQueue
from app.replay.client import ArmReport, Client, Decision, FeedbackEvent, RequestRefused, ServiceAway
from app.replay.pacing import Arrival, Patience, Schedule, Stopped
from app.replay.report import LiveReport, summary, table
from app.replay.scenario import Click, Scenario
from app.replay.tally import ReplayResult, Tally

__all__ = ["SHOW_EVERY_S", "ReplayOptions", "replay", "stopping"]

SHOW_EVERY_S = 0.5
CATALOGUE_S = 1.0  # every web worker has loaded a small catalogue by then; before, arms without items fall back


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to replay."""

    url: str = "http://127.0.0.1:8000"
    key: str = ""
    rate: float = 100.0  # users a second, on average
    concurrency: int = 32  # users served at the same time, at most
    decisions: int | None = 10_000  # None: until interrupted
    seed: int = 1  # of users, arrival times and click delays
    k: int = 3
    window_s: float = 5.0  # the experiment's attribution window
    patience_s: float = 60.0  # for how long to retry while the service is away


def replay(scenario: Scenario, options: ReplayOptions, console: Console | None = None) -> ReplayResult:
    """Load the catalogue, create the experiment, replay its users, print and return what came of it.

    SIGINT (Ctrl-C) and SIGTERM end the replay early, with its table.

    Raises:
        ServiceAway: the service did not come within `patience_s`.
        RequestRefused: it refused the catalogue or the experiment.
    """
    console = console or Console()
    stop = threading.Event()
    client = Client(options.url, options.key, connections=options.concurrency + 2)
    run = _Run(scenario, options, client, stop)
    with stopping(stop):
        try:
            run.prepare()
            run.serve(LiveReport(console, options.decisions))
        except Stopped:
            pass
        result = run.result()
    client.close()
    console.print(table(result))
    console.print(summary(result), highlight=False, soft_wrap=True)
    return result


class _Run:
    """One replay: the values that its threads share."""

    def __init__(self, scenario: Scenario, options: ReplayOptions, client: Client, stop: threading.Event) -> None:
        self._scenario, self._options, self._client, self._stop = scenario, options, client, stop
        self._metric: str = scenario.specification["reward"]["metric"]
        self._tally = Tally([arm["key"] for arm in scenario.specification["arms"]])
        self._patience = Patience(
            stop,
            limit_s=options.patience_s,
            jitter=random.Random(options.seed).random,  # noqa: S311 -- spreads retries, protects nothing
            on_retry=lambda _away: self._tally.retried(),
        )
        self._clicks = ClickQueue(self._send, stop)

    def prepare(self) -> None:
        """Load the catalogue and create the experiment; both may be repeated."""
        self._patience(lambda: self._client.put_items(self._scenario.items))
        self._patience(lambda: self._client.put_experiment(self._scenario.experiment, self._scenario.specification))
        if self._scenario.items:
            self._stop.wait(CATALOGUE_S)

    def serve(self, live: LiveReport) -> None:
        """Serve all users and send all clicks; returns early when interrupted."""
        o = self._options
        schedule = Schedule(self._scenario, rate=o.rate, total=o.decisions, seed=o.seed)
        with live, ThreadPoolExecutor(o.concurrency + 1, "replay") as threads:
            sender = threads.submit(self._clicks.run)
            sender.add_done_callback(self._stop_on_defect)
            try:
                users = [threads.submit(self._serve_users, schedule) for _ in range(o.concurrency)]
                self._watch(users, live)
                self._clicks.close()
                self._watch([sender], live)
            finally:
                self._clicks.close()

    def result(self) -> ReplayResult:
        """All counts, and what the service believes about the arms, if it answers."""
        reports: dict[str, ArmReport] = {}
        try:
            reports = self._client.arms(self._scenario.experiment)
        except (ServiceAway, RequestRefused) as failure:
            self._tally.failed(failure.detail)
        return self._tally.result(expected=self._scenario.expected, reports=reports, interrupted=self._stop.is_set())

    def _watch(self, futures: Sequence[Future[None]], live: LiveReport) -> None:
        """Keep the display up to date until all threads are done; a defect in one of them ends them all."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, SHOW_EVERY_S, FIRST_EXCEPTION)
            live.show(self._tally.result())
            for future in done:
                self._stop_on_defect(future)
        for future in futures:
            future.result()

    def _stop_on_defect(self, future: Future[None]) -> None:
        if future.exception():
            self._stop.set()

    def _serve_users(self, schedule: Schedule) -> None:
        """Serve one user after the other, each at the time of arrival; one of these runs in each thread."""
        while not self._stop.is_set() and (arrival := schedule.take()):
            if self._stop.wait(max(0.0, arrival.due - time.monotonic())):
                return
            try:
                self._serve_user(arrival)
            except Stopped:
                return
            except (ServiceAway, RequestRefused) as failure:
                self._tally.failed(failure.detail)

    def _serve_user(self, arrival: Arrival) -> None:
        """Ask for a decision, and send the click that follows from it, now or later."""
        visitor = arrival.visitor
        request = {
            "experiment": self._scenario.experiment,
            "unit": visitor.unit,
            "k": self._scenario.k,
            "context": visitor.context,
            "decision_id": str(new_id()),
        }
        decision = self._patience(lambda: self._client.recommend(request))
        click = visitor.click(decision)
        self._tally.decided(decision, clicked=click is not None)
        if click is None:
            return
        event = self._event(decision, click, arrival.click_delay_s)
        if arrival.click_delay_s > 0:
            self._clicks.add(event, delay_s=arrival.click_delay_s)
        else:
            self._tally.fed_back([self._patience(lambda: self._client.feedback(event))])

    def _event(self, decision: Decision, click: Click, delay_s: float) -> FeedbackEvent:
        """The click as the service is told of it."""
        return FeedbackEvent(
            decision_id=decision.decision_id,
            metric=self._metric,
            value=1,
            event_id="click-1",
            item_id=click.item_id,
            position=click.position,
            occurred_at=datetime.fromtimestamp(time.time() + delay_s, UTC).isoformat(timespec="milliseconds"),
        )

    def _send(self, events: Sequence[FeedbackEvent]) -> None:
        """Send the clicks that are due."""
        try:
            self._tally.fed_back(self._patience(lambda: self._client.feedback_batch(events)))
        except Stopped:
            self._tally.failed(f"interrupted: {len(events)} clicks not sent")
        except (ServiceAway, RequestRefused) as failure:
            self._tally.failed(failure.detail)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`, a second one interrupts; outside the main thread neither is caught."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    caught = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, on_signal) for number in caught}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
