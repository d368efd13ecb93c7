"""Starts whole services of real processes, and talks to them as a frontend would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

ADMIN_KEY = "test-key-with-every-scope"
_ROOT = Path(__file__).parents[1]
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def ok(self) -> Any:
        """The body of a success."""
        assert 200 <= self.status < 300, (self.status, self.body)
        return self.body


class Api:
    """A client of the HTTP interface."""

    def __init__(self, url: str, key: str | None = ADMIN_KEY) -> None:
        self.url = url
        self._key = key
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(30))

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON, `raw` as it is."""
        sent = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        response = self._pool.request(method, self.url + path, body=data, headers={**sent, **(headers or {})})
        is_plain = response.headers.get("Content-Type", "").startswith("text/plain")  # as `/metrics` is
        text = response.data
        body = text.decode() if is_plain else json.loads(text) if text else None
        return Answer(response.status, dict(response.headers), body)

    def get(self, path: str) -> Answer:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        """POST."""
        return self.call("POST", path, body)

    def put(self, path: str, body: object = None) -> Answer:
        """PUT."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: object = None) -> Answer:
        """PATCH."""
        return self.call("PATCH", path, body)

    def close(self) -> None:
        """Closes connections."""
        self._pool.clear()


@dataclass
class Service:
    """A running service."""

    url: str
    database_url: str
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]]
    log: Path
    code: Path | str = _ROOT  # whose: this one's, or another version's

    def api(self, key: str | None = ADMIN_KEY) -> Api:
        """A client of it."""
        return Api(self.url, key)

    def start(self, role: str) -> None:
        """Starts a role's process."""
        with self.log.open("ab") as log:
            self.processes[role] = subprocess.Popen(
                [sys.executable, "-m", "app.cli", role],
                env=self.environment,
                cwd=self.code,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, role: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a role's process a signal and waits for its end; returns its exit status."""
        process = self.processes.pop(role)
        process.send_signal(number)
        return process.wait(_PATIENCE_S)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a `croupier` command against the same database."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment,
            cwd=self.code,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@contextmanager
def running_service(
    database_url: str,
    folder: Path,
    *,
    roles: tuple[str, ...] = ("web", "learner", "monitor"),
    code: Path | str = _ROOT,
    **settings: str,
) -> Iterator[Service]:
    """A service with two web workers, a learner and a monitor; all are gone afterwards."""
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CROUPIER_")},
        "DATABASE_URL": database_url,
        "CROUPIER_PORT": str(port),
        "CROUPIER_WORKERS": "2",
        # Machines that run tests are busy: what is no fault must not look like one.
        "CROUPIER_COMMIT_BUDGET_MS": "5000",
        "CROUPIER_DATA_DIR": str(folder),
        **settings,
    }
    url = f"http://127.0.0.1:{environment['CROUPIER_PORT']}"
    service = Service(url, database_url, environment, {}, folder / "service.log", code)
    try:
        created = service.command("keys", "ensure", ADMIN_KEY)
        assert created.returncode == 0, created.stderr
        for role in roles:
            service.start(role)
        if "web" in roles:
            until(lambda: _is_ready(service), "the service to be ready")
        yield service
    finally:
        for role in list(service.processes):
            service.stop(role)


def until(condition: Callable[[], object], what: str, patience_s: float = _PATIENCE_S) -> None:
    """Waits for a condition.

    Raises:
        AssertionError: it did not come true in time.
    """
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """Processes that this process started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def descendants_of(pid: int) -> list[int]:
    """All processes below this one."""
    return [found for child in children_of(pid) for found in (child, *descendants_of(child))]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def _is_ready(service: Service) -> bool:
    api = service.api()
    try:
        return api.get("/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False
    finally:
        api.close()
