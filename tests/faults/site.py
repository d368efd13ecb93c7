"""A PostgreSQL and a service that tests hurt, and that is whole again after each."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.embedded import EmbeddedPostgres
from tests.faults.load import Load, Tally, load_on, until_recovered
from tests.running import Service, alive, children_of, until

__all__ = ["LONG", "Site", "kill", "report"]

log = logging.getLogger(__name__)

# `make faults`: longer, and more rounds.
LONG = os.environ.get("CROUPIER_FAULTS") == "long"


def report(what: str, tally: Tally) -> None:
    """Says what was measured: pytest shows it with --log-cli-level=INFO."""
    log.info("%s: %s, share %.5f", what, tally, tally.share)


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends processes a signal; one that has just ended is none the worse."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


@dataclass
class Site:
    """What is hurt."""

    postgres: EmbeddedPostgres
    service: Service
    other: Service  # another one on the same database, web only, with a data directory of its own

    @property
    def spool(self) -> Path:
        """The service's spool folder."""
        return Path(self.service.environment["CROUPIER_DATA_DIR"]) / "spool"

    def workers(self) -> list[int]:
        """The web workers of the service."""
        return children_of(self.service.processes["web"].pid)

    def kill_web(self) -> None:
        """SIGKILL to gunicorn and all of its workers, at the same moment."""
        workers = self.workers()
        process = self.service.processes.pop("web")
        kill(process.pid, *workers)
        process.wait()
        until(lambda: not any(alive(pid) for pid in workers), "the workers to be gone")

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster; its children end when they notice."""
        pid = self.postgres.status().pid
        assert pid is not None
        kill(pid)
        until(lambda: not alive(pid), "the postmaster to be gone")

    @contextmanager
    def stopped_postgres(self) -> Iterator[None]:
        """While this lasts there is no PostgreSQL."""
        self.postgres.stop()
        try:
            yield
        finally:
            self.postgres.start()

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """While this lasts all processes of PostgreSQL stand still; connections stay open, and nothing comes."""
        pid = self.postgres.status().pid
        assert pid is not None
        kill(pid, number=signal.SIGSTOP)  # first, so that there are no new ones
        everyone = [pid, *children_of(pid)]
        kill(*everyone, number=signal.SIGSTOP)
        try:
            yield
        finally:
            kill(*everyone, number=signal.SIGCONT)

    def mend(self) -> None:
        """Makes sure that everything is there again."""
        self.postgres.start()
        for service, roles in ((self.service, ("web", "learner", "monitor")), (self.other, ("web",))):
            for role in roles:
                if role not in service.processes or service.processes[role].poll() is not None:
                    service.start(role)
            until_recovered(service)

    @contextmanager
    def load(self, key: str, clients: int = 8) -> Iterator[Load]:
        """Traffic on the service."""
        with load_on(self.service, key, clients=clients) as load:
            yield load


def measure(load: Load, seconds: float) -> Tally:
    """What becomes of the decisions that are asked for within the next so many seconds."""
    start = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    time.sleep(0.5)  # what was asked for at the end is answered, or given up, by now
    return load.between(start, end)
