"""`simulate`: a world, an experiment in it, traffic with one fault, and what came of it beside the truth."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime

import msgspec
import numpy as np
from rich.console import Console

from app.replay.client import ArmReport, Client, RequestRefused, ServiceAway
from app.replay.pacing import Patience, Stopped
from app.replay.report import LiveReport
from app.replay.runner import stopping
from app.replay.tally import ReplayResult
from app.simulation.arms import ModelRanking, local_arms, specification, truth
from app.simulation.arrivals import arrivals
from app.simulation.model_server import model_server
from app.simulation.results import Injection, Phase, SimulationResult, print_result
from app.simulation.scenarios import Scenario
from app.simulation.traffic import Counts, Traffic
from app.simulation.visits import Plan
from app.simulation.world import World, build_world

__all__ = ["SimulationOptions", "simulate"]

TRUTH_USERS = 5_000  # the truth is a mean over at most so many users


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to simulate."""

    url: str = "http://127.0.0.1:8000"
    key: str = ""
    experiment: str | None = None  # None: simulate-<scenario>
    users: int = 2000
    items: int = 200
    duration: float = 60.0  # seconds
    rate: float = 50.0  # requests a second, on average
    seed: int = 1  # of the world, the traffic and what its users do
    k: int = 5
    window_s: float = 5.0  # the experiment's attribution window
    concurrency: int = 32
    patience_s: float = 60.0  # for how long to retry while the service is away
    model_host: str = "127.0.0.1"  # where the service finds the simulator's model server


def simulate(scenario: Scenario, options: SimulationOptions, console: Console | None = None) -> SimulationResult:
    """Load the catalogue, create the experiment, send the traffic, print and return what came of it.

    SIGINT (Ctrl-C) and SIGTERM end it early, with its report.

    Raises:
        ServiceAway: the service did not come within `patience_s`.
        RequestRefused: it refused the catalogue or the experiment.
    """
    run = _Run(scenario, options, console or Console())
    with stopping(run.stop), run.model() as model_url:
        try:
            run.prepare(model_url)
            run.send()
        except Stopped:
            pass
        result = run.result()
    print_result(result, run.console)
    return result


class _Run:
    """One simulation."""

    def __init__(self, scenario: Scenario, options: SimulationOptions, console: Console) -> None:
        self.console, self.stop = console, threading.Event()
        self._scenario, self._options = scenario, options
        world_seed, model_seed, self._traffic_seed = np.random.SeedSequence(options.seed).spawn(3)
        self._world: World = build_world(
            np.random.default_rng(world_seed), n_users=options.users, n_items=options.items
        )
        self._ranking = ModelRanking(self._world, np.random.default_rng(model_seed)) if scenario.model else None
        self._arms = [*local_arms(self._world), *(["model"] if scenario.model else [])]
        self._experiment = options.experiment or f"simulate-{scenario.name}"
        self._client = Client(options.url, options.key, connections=options.concurrency + 2)
        self._counts = Counts(self._arms)
        self._patience = Patience(
            self.stop,
            limit_s=options.patience_s,
            jitter=random.Random(options.seed).random,  # noqa: S311 -- spreads retries, protects nothing
            on_retry=lambda _away: self._counts.add("retries"),
        )
        self._started: float | None = None  # on the clock of time.monotonic
        self._injection: Injection | None = None

    @contextmanager
    def model(self) -> Iterator[str | None]:
        """The model server, if there is one; its URL."""
        server = model_server(self._ranking, self._model_down, self._options.model_host) if self._ranking else None
        with server or nullcontext() as url:
            yield url

    def prepare(self, model_url: str | None) -> None:
        """Load the catalogue and create the experiment; both may be repeated."""
        body = specification(
            local_arms(self._world),
            model=None if model_url is None else {"kind": "http", "url": model_url, "deadline_ms": 500},
            window_s=self._options.window_s,
            confirmed=self._scenario.confirmed,
        )
        self._patience(lambda: self._client.put_items(self._world.items()))
        self._patience(lambda: self._client.put_experiment(self._experiment, body))

    def send(self) -> None:
        """Say when the fault will come, and send the traffic."""
        o = self._options
        plan = Plan(
            world=self._world,
            scenario=self._scenario,
            experiment=self._experiment,
            duration_s=o.duration,
            window_s=o.window_s,
            k=o.k,
        )
        rng = np.random.default_rng(self._traffic_seed)
        coming = arrivals(rng, self._scenario, n_users=o.users, rate=o.rate, duration_s=o.duration)
        self._started = time.monotonic()
        self._injection = Injection.of(self._scenario, datetime.now(UTC), o.duration)
        self.console.print(self._injection.told if self._injection else "No fault will be injected", highlight=False)
        traffic = Traffic(plan, self._client, self._counts, self._patience, self.stop)
        traffic.run(coming, self._started, LiveReport(self.console, None), o.concurrency)

    def result(self) -> SimulationResult:
        """All counts, the truth, and what the service believes, if it answers."""
        reports = self._reports()
        phases = [Phase.of("before", self._tallied(reports, after=False))]
        if self._scenario.signal:
            phases.append(Phase.of("after", self._tallied(reports, after=True)))
        return SimulationResult(
            scenario=self._scenario.name,
            experiment=self._experiment,
            seed=self._options.seed,
            injected=self._injection,
            phases=tuple(phases),
            sent=self._counts.sent,
            service=tuple(reports.values()),
            interrupted=self.stop.is_set(),
        )

    def _tallied(self, reports: Mapping[str, ArmReport], *, after: bool) -> ReplayResult:
        """One phase's counts beside its truth."""
        conditions = self._scenario.after if after else self._scenario.before
        users = range(min(self._options.users, TRUTH_USERS))
        expected = truth(self._world, conditions, self._options.k, users, self._ranking)
        tally = self._counts.after if after else self._counts.before
        return tally.result(expected=expected, reports=reports, interrupted=self.stop.is_set())

    def _reports(self) -> Mapping[str, ArmReport]:
        try:
            return self._client.arms(self._experiment)
        except (ServiceAway, RequestRefused):
            self._counts.add("report_failures")
            return {}

    def _model_down(self) -> bool:
        """Whether the fault has begun, and is that of the model server."""
        elapsed = 0.0 if self._started is None else time.monotonic() - self._started
        return self._scenario.at(elapsed / self._options.duration).model_down
