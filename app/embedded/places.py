"""Where the embedded PostgreSQL's files are, and whose they are. Used by `app/embedded/` only.

`<data_dir>/postgres.lock`
    Held while one process starts, stops or resets the server.
`<data_dir>/postgres/`, the home
    A folder, or a link to one below `/var/lib/croupier` where the server's user cannot enter `<data_dir>`.
    In it `data` (the cluster, of the server's user), the configuration, `server.log`, and `running.lock`,
    which the server and all its processes inherit locked: it is free when the last of them is gone.
`/tmp/croupier-<uid>-<hash of data_dir>/`
    The socket. In /tmp because the path of a socket has at most 107 bytes (macOS: 103).
`/var/lib/croupier/runtime-<version>/`
    A copy of the programs where the server's user cannot run those of the Python package.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.embedded.programs import Account, EmbeddedPostgresError, make_system_dir

__all__ = [
    "PORT",
    "SOCKET",
    "SYSTEM_DIR",
    "Postmaster",
    "delete_home",
    "end_of_log",
    "find_postmaster",
    "find_socket_dir",
    "is_listening",
    "locked",
    "make_home",
    "make_socket_dir",
    "rename_durably",
    "try_lock",
    "write_configuration",
]

SYSTEM_DIR = Path("/var/lib/croupier")
PORT = 5432  # part of the socket's name only
SOCKET = f".s.PGSQL.{PORT}"

_LOCK = "running.lock"
_LOG_LIMIT = 1_000_000
_CONFIGURATION = """\
# Written at every start by app/embedded/places.py. For settings of your own: ALTER SYSTEM SET ..., they win.
hba_file = 'pg_hba.conf'
ident_file = 'pg_ident.conf'

# The socket is the only way in.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 200

# What was committed stays, whatever happens to the process or the machine.
fsync = on
full_page_writes = on
synchronous_commit = on

# A small machine, short statements. Parallel queries would need a large /dev/shm, which containers lack.
shared_buffers = 128MB
max_wal_size = 512MB
jit = off
max_parallel_workers_per_gather = 0
random_page_cost = 1.1

timezone = 'UTC'
log_timezone = 'UTC'

# Only what concerns the server itself is logged. A failed statement is its client's to report: logged here
# too, one that is repeated for ever would fill the disk.
logging_collector = off
log_min_messages = log
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""


def make_home(data_dir: Path, account: Account, system_dir: Path) -> Path:
    """The home of the cluster of `data_dir`, made if there is none: there if the server's user can enter it.

    Where it is, is decided once: a link `<data_dir>/postgres` says that it is elsewhere.

    Raises:
        EmbeddedPostgresError: what is there is not ours, or the server's user cannot enter it.
    """
    home = data_dir / "postgres"
    if not os.path.lexists(home):
        if account.can_enter(data_dir):
            _check_length(home)
            home.mkdir(mode=0o700)
        else:
            make_system_dir(system_dir)
            elsewhere = Path(tempfile.mkdtemp(prefix=f"{_digest(data_dir)}-", dir=system_dir))
            (elsewhere / "data_dir").write_text(f"{data_dir}\n", encoding="utf-8", errors="surrogateescape")
            home.symlink_to(elsewhere)
        if account.other:
            home.chmod(0o711)
    _check_home(home, account, system_dir)
    return home.resolve()


def _check_length(home: Path) -> None:
    if len(os.fsencode(home)) > 900:
        raise EmbeddedPostgresError(
            f"{home} is a longer path than PostgreSQL can handle (900 bytes). "
            "Choose a data directory with a shorter one (CROUPIER_DATA_DIR)."
        )


def _check_home(home: Path, account: Account, system_dir: Path) -> None:
    if home.is_symlink() and (not home.is_dir() or home.readlink().parent != system_dir):
        raise EmbeddedPostgresError(
            f"{home} is a link to {home.readlink()}, which is no cluster of ours. "
            "Put that folder back, or delete the link to start with an empty database."
        )
    if not home.is_dir() or home.stat().st_uid != os.geteuid():
        raise EmbeddedPostgresError(
            f"{home} is not a folder of ours (user id {os.geteuid()}). "
            "Run this as its owner, or choose another data directory (CROUPIER_DATA_DIR)."
        )
    if not (home / _LOCK).exists() and {path.name for path in home.iterdir()} - {"data_dir"}:
        raise EmbeddedPostgresError(
            f"{home} holds files, but Croupier did not make it. Choose another data directory (CROUPIER_DATA_DIR)."
        )
    if not account.can_enter(home.resolve()):
        raise EmbeddedPostgresError(
            f"The server's user {account.name} can no longer enter {home}. "
            "Let that user pass through the folders above it again."
        )


def delete_home(home: Path) -> None:
    """Deletes what we made in it, and the home itself if then nothing is left."""
    if (home / "data").exists():
        # Killed from here on, we leave no half cluster: the next start sees none, and clears this away.
        rename_durably(home / "data", home / "data.discarded")
    for folder in ("data.discarded", "data.new"):
        if (home / folder).exists():
            shutil.rmtree(home / folder)
    for file in (*_configuration_files(), "server.log", "server.log.1", "data_dir"):
        (home / file).unlink(missing_ok=True)
    if {path.name for path in home.iterdir()} <= {_LOCK}:
        (home / _LOCK).unlink(missing_ok=True)
        home.rmdir()


def write_configuration(home: Path, socket_dir: Path, account: Account) -> None:
    """Writes the server's configuration, in our folder out of `nobody`'s reach, and makes its log."""
    for name, text in _configuration_files(socket_dir).items():
        (home / name).write_text(text, encoding="utf-8")
        (home / name).chmod(0o644)
    log = home / "server.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.rename(home / "server.log.1")
    log.touch(mode=0o600)
    account.give(log)


def _configuration_files(socket_dir: Path | None = None) -> dict[str, str]:
    # Peer: the kernel says who connects. So there is no secret to keep, and when we are root and the server is
    # run by `nobody`, other processes of `nobody` still cannot connect.
    return {
        "postgresql.conf": _CONFIGURATION.format(port=PORT, socket_dir=socket_dir),
        # `all` leaves out replication, as which pg_basebackup connects.
        "pg_hba.conf": "local all all peer map=croupier\nlocal replication all peer map=croupier\n",
        "pg_ident.conf": f'croupier "{Account.of_ourselves().name}" croupier\n',
    }


def end_of_log(home: Path) -> str:
    """The last lines of the server's log, to end a message with."""
    log = home / "server.log"
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(-min(log.stat().st_size, 4000), os.SEEK_END)
        lines = file.read().decode(errors="replace").splitlines()[-10:]
    return "\n".join(["", f"The end of {log}:", *lines])


def find_socket_dir(data_dir: Path) -> Path:
    """The folder of the socket: the same at every start, and another for each user and data directory."""
    return Path("/tmp") / f"croupier-{os.geteuid()}-{_digest(data_dir)}"  # noqa: S108 - see make_socket_dir


def make_socket_dir(folder: Path, account: Account) -> None:
    """Makes the folder, the server's user's alone. In /tmp others can be first: then we refuse.

    Raises:
        EmbeddedPostgresError: something of somebody else has that name.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    ours = facts.st_uid in (account.uid, os.geteuid())
    if not (ours and stat.S_ISDIR(facts.st_mode) and stat.S_IMODE(facts.st_mode) == 0o700):
        raise EmbeddedPostgresError(
            f"{folder}, where the database's socket belongs, is {stat.filemode(facts.st_mode)} of user id "
            f"{facts.st_uid} and should be drwx------ of {account.name}. Somebody else made it: delete it."
        )
    account.give(folder)


@dataclass(frozen=True, kw_only=True)
class Postmaster:
    """The server's first process, as it describes itself in `postmaster.pid`."""

    pid: int
    socket_dir: Path
    # Whether it accepts connections: else it is still starting, or recovering.
    ready: bool


def find_postmaster(home: Path) -> Postmaster | None:
    """The living server. Its file alone proves nothing; that something answers on its socket does."""
    try:
        text = (home / "data" / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        pid, _, _, _, socket_dir, *rest = text.splitlines()
        found = Postmaster(pid=int(pid), socket_dir=Path(socket_dir), ready="ready" in map(str.strip, rest))
    except (FileNotFoundError, ValueError):
        return None
    return found if is_listening(found.socket_dir / SOCKET) else None


def is_listening(path: Path) -> bool:
    """Whether a process answers on that socket. A full queue is an answer too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True
        except OSError:
            return False
    return True


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def rename_durably(source: Path, target: Path) -> None:
    """Renames so that it stays renamed when the machine loses power."""
    source.rename(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(home: Path) -> int | None:
    """A file descriptor that holds the lock of the home, or None while another one does.

    The lock ends when all copies of the descriptor are closed, those that other processes inherited included.
    """
    descriptor = _open_lock(home / _LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Waits until no other process starts, stops or resets the server of this directory, and keeps it so."""
    descriptor = _open_lock(data_dir / "postgres.lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
