"""Replays real headline tests: over HTTP against a running service, or in this process by the same policy."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

import msgspec
import numpy as np
from rich.console import Console

from app.ids import new_id
from app.replay.bulk import BulkDealer, batches
from app.replay.client import ArmReport, Client
from app.replay.pacing import Patience, Stopped
from app.replay.regrets import HeadlineResult, regret_lines, regret_table, settings_line
from app.replay.report import LiveReport, summary, table
from app.replay.runner import SHOW_EVERY_S, stopping
from app.replay.tally import ReplayResult, Tally
from app.replay.upworthy import Draw, HeadlineTest, policy, specification
from bandits.simulation import IntArray, deal_by_allocations

__all__ = ["HeadlineOptions", "replay_upworthy", "simulate_upworthy"]

BATCH = 250  # decisions in one call
EVERY = 500  # in process: decisions from one allocation to the next


class HeadlineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to replay headline tests; the same for each, none is tuned for one."""

    url: str = "http://127.0.0.1:8000"
    key: str = ""
    decisions: int = 500_000  # of each test
    rate: float = 2500.0  # decisions a second of each test, if the service answers so many
    draw: Draw = "rate"
    seed: int = 1  # of the clicks
    patience_s: float = 60.0  # for how long to retry while the service is away


def replay_upworthy(
    tests: Sequence[HeadlineTest], options: HeadlineOptions, console: Console | None = None
) -> list[HeadlineResult]:
    """Replay tests side by side, each in a new experiment; print and return what came of them.

    SIGINT (Ctrl-C) and SIGTERM end the replay early, with its table. The experiments are stopped in the end.

    Raises:
        ServiceAway: the service was away for longer than `patience_s`.
        RequestRefused: it refused an experiment or a decision.
    """
    console = console or Console()
    stop = threading.Event()
    client = Client(options.url, options.key, connections=len(tests) + 1)
    replays = [_Replay(test, options, client, stop) for test in tests]
    live = LiveReport(console, options.decisions * len(tests))
    with stopping(stop), live, ThreadPoolExecutor(len(tests), "replay") as threads:
        _watch([threads.submit(replay.run) for replay in replays], replays, live, stop)
    if len(tests) == 1:
        seen = replays[0].seen()
        console.print(table(seen), summary(seen), sep="\n", highlight=False, soft_wrap=True)
    results = [replay.result() for replay in replays]
    client.close()
    _print(console, results, options, f"over HTTP, a window of 1 s, at most {options.rate:,.0f} decisions a second")
    return results


def simulate_upworthy(
    tests: Sequence[HeadlineTest], options: HeadlineOptions, console: Console | None = None
) -> list[HeadlineResult]:
    """The same without a service: allocations by the same function, a new one after every 500 decisions."""
    console = console or Console()
    results: list[HeadlineResult] = []
    with LiveReport(console, options.decisions * len(tests)) as live:
        for test in tests:
            rewards = test.rewards(options.draw, horizon=options.decisions, seed=options.seed)
            rng = np.random.default_rng([options.seed, int(test.test_id, 16), 1])
            results.append(HeadlineResult(test, deal_by_allocations(policy(), rewards, every=EVERY, rng=rng)[0]))
            live.update(options.decisions * len(results), f"{len(results)} tests")
    _print(console, results, options, f"in process, a new allocation after every {EVERY} decisions")
    return results


class _Replay:
    """One test's replay, in a thread of its own."""

    def __init__(self, test: HeadlineTest, options: HeadlineOptions, client: Client, stop: threading.Event) -> None:
        self._test, self._options, self._client, self._stop = test, options, client, stop
        # A new experiment each time: one that has learned already would lose nothing.
        self._experiment = f"upworthy-{test.test_id}-{new_id().hex[-8:]}"
        self._tally = Tally([str(arm) for arm in range(len(test.headlines))])
        self._course: list[IntArray] = []
        self._reports: dict[str, ArmReport] = {}

    @property
    def decisions(self) -> int:
        """How many there were."""
        return self._tally.decisions

    def run(self) -> None:
        """Deal all decisions, each batch when it is due; returns early when interrupted."""
        o = self._options
        attempt = Patience(
            self._stop,
            limit_s=o.patience_s,
            jitter=random.Random(o.seed).random,  # noqa: S311 -- spreads retries, protects nothing
            on_retry=lambda _away: self._tally.retried(),
        )
        rewards = self._test.rewards(o.draw, horizon=o.decisions, seed=o.seed)
        dealer = BulkDealer(self._client, self._experiment, rewards, attempt=attempt)
        try:
            attempt(lambda: self._client.put_experiment(self._experiment, specification(self._test)))
            for size in self._when_due():
                self._deal(dealer, size)
            self._reports = attempt(lambda: self._client.arms(self._experiment))
            attempt(lambda: self._client.act(self._experiment, "stop"))
        except Stopped:
            pass

    def seen(self) -> ReplayResult:
        """All counts, beside the rates that they were drawn from."""
        expected = {str(arm): float(rate) for arm, rate in enumerate(self._test.rates)}
        return self._tally.result(expected=expected, reports=self._reports, interrupted=self._stop.is_set())

    def result(self) -> HeadlineResult:
        """The course of the test."""
        return HeadlineResult(self._test, np.array(self._course).reshape(-1, len(self._test.headlines)))

    def _when_due(self) -> Iterator[int]:
        """Sizes of batches, each at its time; a batch that is late is not made up for by hurry later on."""
        due = time.monotonic()
        for size in batches(self._options.decisions, BATCH):
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            yield size
            due = max(due + size / self._options.rate, time.monotonic())

    def _deal(self, dealer: BulkDealer, size: int) -> None:
        rewarded, statuses = dealer.deal(size)
        for decision, reward in rewarded:
            self._tally.decided(decision, clicked=reward > 0)
        self._tally.fed_back(statuses)
        self._course.append(dealer.pulls.copy())


def _watch(
    futures: Sequence[Future[None]], replays: Sequence[_Replay], live: LiveReport, stop: threading.Event
) -> None:
    """Keep the display up to date until all threads are done; a failure in one of them ends them all."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, SHOW_EVERY_S, FIRST_EXCEPTION)
        if len(replays) == 1:
            live.show(replays[0].seen())
        else:
            live.update(sum(replay.decisions for replay in replays), f"{len(replays)} tests")
        if any(future.exception() for future in done):
            stop.set()
    for future in futures:
        future.result()


def _print(console: Console, results: Sequence[HeadlineResult], options: HeadlineOptions, how: str) -> None:
    console.print(regret_table(results))
    console.print(regret_lines(results), settings_line(options.draw, how), sep="\n", highlight=False, soft_wrap=True)
