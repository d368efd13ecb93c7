"""All roles on one machine: starts them, starts those that die again, and stops them in order."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from gevent import monkey

from app.errors import ConfigurationError
from app.settings import SUPERVISOR

__all__ = ["Supervisor", "check_port_free", "stop_with_parent"]

log = logging.getLogger(__name__)

_ROLES = ("learner", "monitor", "web")
_GRACE_S = 15.0
# A role that dies at once again is not started more often than this.
_REST_S = 1.0
_PARENT = SUPERVISOR


class Supervisor:
    """The child processes, one a role."""

    def __init__(self, environment: Mapping[str, str], roles: Sequence[str] = _ROLES) -> None:
        self._environment = {**os.environ, **environment, _PARENT: str(os.getpid())}
        self._roles = roles
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Keeps all roles running until `stop` is set, then stops them."""
        try:
            while not stop.is_set():
                self._start_missing()
                stop.wait(0.2)
        finally:
            self._stop_all()

    def _start_missing(self) -> None:
        for role in self._roles:
            child = self._children.get(role)
            if child is not None and child.poll() is None:
                continue
            if child is not None and time.monotonic() - self._started[role] < _REST_S:
                continue
            if child is not None:
                log.warning("%s ended with status %s: starting it again", role, child.returncode)
            # A session of its own: Ctrl-C in the terminal reaches the supervisor, which stops its children in order.
            command = [sys.executable, "-m", "app.cli", role]
            self._children[role] = subprocess.Popen(  # noqa: S603 - our own command
                command, env=self._environment, start_new_session=True
            )
            self._started[role] = time.monotonic()

    def _stop_all(self) -> None:
        """The web first, so that what it still answers is still learned from."""
        for role in reversed(self._roles):
            child = self._children.get(role)
            if child is None or child.poll() is not None:
                continue
            child.terminate()
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def stop_with_parent() -> None:
    """Lets this process stop when its supervisor was killed: without one nobody would stop it."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return

    # A thread of the operating system even where gevent has replaced Python's: gunicorn forks its workers, and a
    # greenlet would be copied into each.
    sleep = monkey.get_original("time", "sleep")

    def watch() -> None:
        while str(os.getppid()) == parent:
            sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    monkey.get_original("_thread", "start_new_thread")(watch, ())


def check_port_free(host: str, port: int) -> None:
    """Refuses to start where another server listens.

    Raises:
        ConfigurationError: the port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"Cannot listen on {host}:{port} ({error.strerror}); choose another with --port or CROUPIER_PORT"
            ) from error
