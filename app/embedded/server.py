"""An embedded PostgreSQL: the real server, from a Python package, behind a life cycle of our own.

`app/embedded/places.py` says where its files are, `app/embedded/programs.py` as whom it runs, and
docs/adr/0003-embedded-postgresql.md why it is so.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

from app.embedded.places import (
    PORT,
    SOCKET,
    SYSTEM_DIR,
    delete_home,
    end_of_log,
    find_postmaster,
    find_socket_dir,
    is_listening,
    locked,
    make_home,
    make_socket_dir,
    rename_durably,
    try_lock,
    write_configuration,
)
from app.embedded.programs import Account, EmbeddedPostgresError, find_programs, run, runtime_for

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "Status"]

_PATIENCE_S = 120  # for a recovery after a crash, for the checkpoint of a shutdown
# "croupier" is the database and the role. Its text is fixed, as CREATE DATABASE takes no parameters.
_CREATE_DATABASE = r"""
SELECT 'CREATE DATABASE croupier' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'croupier') \gexec
"""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The embedded server as it is now."""

    # Whether it accepts connections.
    running: bool
    # The server's first process; None unless running.
    pid: int | None
    # Of the programs, as "18.4".
    version: str
    # Where it is reached when it runs; the same at every start.
    url: str
    # Croupier's data directory, absolute.
    data_dir: Path
    # The cluster itself: below data_dir, or /var/lib/croupier where the server's user cannot enter data_dir.
    cluster: Path
    log_file: Path


class EmbeddedPostgres:
    """The PostgreSQL server of one data directory.

    All processes that name the same directory share it, and it outlives them: only `stop` ends it. Nobody but
    the user who started it can connect. Every method may be called by any number of processes at once.
    """

    def __init__(self, data_dir: Path, *, system_dir: Path = SYSTEM_DIR) -> None:
        self._data_dir = data_dir.resolve()
        self._system_dir = system_dir
        self._socket_dir = find_socket_dir(self._data_dir)

    def start(self) -> str:
        """Starts the server unless it runs, after making the cluster and the database if they are missing.

        Returns:
            The URL of the database.

        Raises:
            EmbeddedPostgresError: that was not possible.
        """
        with _os_errors_explained():
            self._data_dir.mkdir(parents=True, exist_ok=True)
            with locked(self._data_dir):
                home = make_home(self._data_dir, self._account, self._system_dir)
                for _ in _patiently():
                    self._start(home)
                    if self._create_database(home):
                        return self.url()
        raise EmbeddedPostgresError(f"PostgreSQL starts, and ends again and again.{end_of_log(home)}")

    def stop(self) -> None:
        """Ends the server if it runs, and waits for its end. Open transactions are rolled back.

        Raises:
            EmbeddedPostgresError: that was not possible.
        """
        if os.path.lexists(self._link):
            with _os_errors_explained(), locked(self._data_dir):
                self._stop(make_home(self._data_dir, self._account, self._system_dir))

    def reset(self) -> None:
        """Stops the server and deletes the cluster with all its data, and nothing that we did not make.

        Raises:
            EmbeddedPostgresError: that was not possible.
        """
        if os.path.lexists(self._link):
            with _os_errors_explained(), locked(self._data_dir):
                home = make_home(self._data_dir, self._account, self._system_dir)
                self._stop(home)
                delete_home(home)
                if self._link.is_symlink():
                    self._link.unlink()

    def status(self) -> Status:
        """How the server is now; changes nothing.

        Raises:
            EmbeddedPostgresError: there are no programs for this platform, or the cluster is somebody else's.
        """
        with _os_errors_explained():
            home = self._link.resolve()
            postmaster = find_postmaster(home)
            ready = postmaster is not None and postmaster.ready
            return Status(
                running=ready,
                pid=postmaster.pid if postmaster and ready else None,
                version=run([str(self.binary("postgres")), "--version"]).stdout.split()[-1],
                url=self.url(),
                data_dir=self._data_dir,
                cluster=home / "data",
                log_file=home / "server.log",
            )

    def url(self, database: str = "croupier") -> str:
        """Where a database of this server is reached while it runs."""
        host = quote(str(self._socket_dir))
        return f"postgresql+psycopg2://croupier@/{quote(database, safe='')}?host={host}&port={PORT}"

    def binary(self, name: str) -> Path:
        """One of PostgreSQL's programs, such as `pg_dump` or `psql`, of the server's version.

        Raises:
            EmbeddedPostgresError: there is no such program.
        """
        path = find_programs() / name
        if not path.is_file():
            raise EmbeddedPostgresError(f"There is no program {name} in {path.parent}.")
        return path

    @property
    def _link(self) -> Path:
        """The home, or the link to it."""
        return self._data_dir / "postgres"

    @cached_property
    def _account(self) -> Account:
        return Account.of_server()

    @cached_property
    def _programs(self) -> Path:
        return runtime_for(self._account, self._system_dir)

    def _start(self, home: Path) -> None:
        lock = self._claim(home)
        if lock is None:
            return
        try:
            make_socket_dir(self._socket_dir, self._account)
            self._initialise(home, lock)
            self._clear_leftovers(home)
            write_configuration(home, self._socket_dir, self._account)
            command = ["pg_ctl", "start", "-W", "-D", "data", "-l", "server.log"]
            self._run(home, [*command, "-o", "-c config_file=postgresql.conf"], lock)
        finally:
            os.close(lock)
        _await_ready(home)

    def _claim(self, home: Path) -> int | None:
        """The lock of the home, or None if its server runs. Waits while something else lives that holds it.

        That can be a server still starting or recovering, an `initdb` whose starter was killed, or the last
        statements of a server that was killed. Who gets the lock knows that all of them are gone. A process
        id could not tell: it is used again after a while, and means nothing in another container.
        """
        for _ in _patiently():
            lock = try_lock(home)
            if lock is not None:
                return lock
            postmaster = find_postmaster(home)
            if postmaster and postmaster.socket_dir != self._socket_dir:
                self._stop(home)  # the data directory was moved while its server ran
            elif postmaster and postmaster.ready:
                return None
        raise EmbeddedPostgresError(
            f"Processes of an earlier server still use {home} after {_PATIENCE_S} s. End them (`fuser "
            f"{home}/running.lock` lists them) and start again.{end_of_log(home)}"
        )

    def _initialise(self, home: Path, lock: int) -> None:
        """Makes the cluster if there is none, under another name until it is complete."""
        cluster, unfinished = home / "data", home / "data.new"
        for leftover in (unfinished, home / "data.discarded"):
            if leftover.exists():
                shutil.rmtree(leftover)
        if cluster.exists():
            _check_version(cluster)
            return
        unfinished.mkdir(mode=0o700)
        self._account.give(unfinished)
        # The builtin provider sorts the same on every machine, whatever locales that has.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        access = ["--username=croupier", "--auth-local=peer", "--auth-host=reject"]
        self._run(home, ["initdb", "-D", "data.new", *locale, *access], lock)
        rename_durably(unfinished, cluster)

    def _clear_leftovers(self, home: Path) -> None:
        """What an earlier server left. We hold the lock, so none of this cluster lives.

        The server's user could exchange its socket folder and the process id there, so it is as that user that we
        delete and signal, and not as root.
        """
        path = self._socket_dir / SOCKET
        path_lock = self._socket_dir / f"{SOCKET}.lock"
        for _ in _patiently():
            if not is_listening(path):
                break
            # A cluster that was deleted below its running server.
            pid = path_lock.read_text(encoding="utf-8").split()[0]
            self._try(home, ["pg_ctl", "kill", "QUIT", pid])
        run(["/bin/rm", "-f", str(path), str(path_lock)], account=self._account)
        (home / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _stop(self, home: Path) -> None:
        asked = False
        for _ in _patiently():
            lock = try_lock(home)
            if lock is not None:
                os.close(lock)
                with contextlib.suppress(OSError):
                    self._socket_dir.rmdir()
                return
            if not asked and find_postmaster(home):
                asked = self._try(home, ["pg_ctl", "stop", "-W", "-m", "fast", "-D", "data"]).returncode == 0
        raise EmbeddedPostgresError(
            f"PostgreSQL was asked to stop, but still runs after {_PATIENCE_S} s.{end_of_log(home)}"
        )

    def _create_database(self, home: Path) -> bool:
        """Makes the database if it is missing. False if the server died just after it had answered."""
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self._socket_dir), "-p", str(PORT)]
        psql = [str(self.binary("psql")), *options, "-U", "croupier", "-d", "postgres"]
        done = run(psql, stdin=_CREATE_DATABASE)
        if done.returncode != 0 and find_postmaster(home):
            raise EmbeddedPostgresError(
                f"The database croupier could not be created: {done.stderr.strip()}{end_of_log(home)}"
            )
        return done.returncode == 0

    def _try(self, home: Path, command: list[str], *keep_open: int) -> CompletedProcess[str]:
        """Runs a program as the server's user, in the home: relative paths need no quoting in its shells."""
        program = str(self._programs / command[0])
        return run([program, *command[1:]], account=self._account, cwd=home, keep_open=keep_open)

    def _run(self, home: Path, command: list[str], lock: int) -> None:
        """Runs a program that inherits the lock, and must succeed."""
        done = self._try(home, command, lock)
        if done.returncode != 0:
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
            raise EmbeddedPostgresError(
                f"{command[0]} failed in {home}. Put right what it says, or set DATABASE_URL.\n{output}"
            )


def _await_ready(home: Path) -> None:
    for _ in _patiently():
        postmaster = find_postmaster(home)
        if postmaster and postmaster.ready:
            return
        lock = try_lock(home)
        if lock is not None:
            os.close(lock)
            raise EmbeddedPostgresError(
                "PostgreSQL ended while it started. Put right what its log says, or set DATABASE_URL."
                + end_of_log(home)
            )
    raise EmbeddedPostgresError(
        f"PostgreSQL does not accept connections after {_PATIENCE_S} s; it may still be recovering. "
        f"Start again to go on waiting.{end_of_log(home)}"
    )


def _check_version(cluster: Path) -> None:
    version = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
    if version != "18":
        raise EmbeddedPostgresError(
            f"{cluster} was made by PostgreSQL {version}, the programs are PostgreSQL 18. Dump it with a "
            "Croupier that has the old programs (pg_dump), reset, and restore; or set DATABASE_URL."
        )


def _patiently() -> Iterator[None]:
    """Attempts, some time apart, for as long as we are patient."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


@contextlib.contextmanager
def _os_errors_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL could not use its files: {error}. Put that right (permission, space, "
            "owner), choose another data directory (CROUPIER_DATA_DIR), or set DATABASE_URL."
        ) from error
