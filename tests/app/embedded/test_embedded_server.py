import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import sqlalchemy as sa

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.embedded.programs import Account, find_programs, run

PROJECT = Path(__file__).parents[3]
START = """
import sys
from pathlib import Path
from app.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), system_dir=Path(sys.argv[2]))
print(server.start(), server.status().pid, flush=True)
"""


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A folder that every user can enter, as pytest's own cannot be; its servers are stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="croupier test ")).resolve()
    folder.chmod(0o755)
    yield folder
    for lock in folder.rglob("postgres.lock"):
        server_in(folder, lock.parent).stop()
    shutil.rmtree(folder)


def server_in(place: Path, name: str | Path = "data") -> EmbeddedPostgres:
    """The server of a data directory in that place."""
    return EmbeddedPostgres(place / name, system_dir=place / "system")


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for this test alone."""
    with temporary_place() as folder:
        yield folder


@pytest.fixture
def new_server(place: Path) -> EmbeddedPostgres:
    """A server that never ran, with a data directory that does not exist."""
    return server_in(place)


@pytest.fixture(scope="module")
def shared_place() -> Iterator[Path]:
    """A place that the tests share which leave their cluster in order, as making one takes its time."""
    with temporary_place() as folder:
        yield folder


@pytest.fixture
def server(shared_place: Path) -> Iterator[EmbeddedPostgres]:
    """A running server; it is stopped at the end."""
    server = server_in(shared_place)
    server.start()
    yield server
    server.stop()


def starter(place: Path, script: str = START) -> subprocess.Popen[str]:
    """Another process that starts the server of `place`, in a process group of its own."""
    command = [sys.executable, "-c", script, str(place / "data"), str(place / "system")]
    return subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, start_new_session=True)


def ask(server: EmbeddedPostgres, statement: str, database: str = "croupier") -> list[Any]:
    """The first column of a statement's result; commits."""
    engine = sa.create_engine(server.url(database), poolclass=sa.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return list(result.scalars()) if result.returns_rows else []


def socket_dir(server: EmbeddedPostgres) -> Path:
    """The folder that the URL names."""
    return Path(parse_qs(urlsplit(server.url()).query)["host"][0])


def kill_postmaster(server: EmbeddedPostgres) -> None:
    """What the kernel does when memory is short."""
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_start_makes_a_database_that_can_be_used(new_server: EmbeddedPostgres) -> None:
    """After `start` its URL leads to an empty database of PostgreSQL 18."""
    assert new_server.start() == new_server.url()
    assert ask(
        new_server, "SELECT current_database() || ' ' || current_setting('server_version_num')::int / 10000"
    ) == ["croupier 18"]


def test_start_is_idempotent(server: EmbeddedPostgres) -> None:
    """A second `start` finds the running server and does nothing."""
    before = server.status()
    server.start()
    assert server.status() == before
    assert before.running


def test_status_before_the_first_start_makes_nothing(new_server: EmbeddedPostgres, place: Path) -> None:
    """Asking changes nothing, not even when there is nothing."""
    status = new_server.status()
    assert (status.running, status.pid, status.url) == (False, None, new_server.url())
    assert list(place.iterdir()) == []


def test_status_tells_where_everything_is(server: EmbeddedPostgres, shared_place: Path) -> None:
    """Version, URL, data directory, cluster and log are reported."""
    now = server.status()
    assert (now.running, now.url, now.data_dir) == (True, server.url(), shared_place / "data")
    assert now.version.startswith("18.")
    assert (now.cluster / "PG_VERSION").is_file()
    assert "ready to accept connections" in now.log_file.read_text()


def test_stop_is_idempotent(server: EmbeddedPostgres) -> None:
    """`stop` waits until the server is gone; without one it does nothing."""
    server.stop()
    server.start()
    server.stop()
    assert not server.status().running
    assert not socket_dir(server).exists()
    server.stop()


def test_data_survives_a_restart(server: EmbeddedPostgres) -> None:
    """What was committed is there after `stop` and `start`."""
    ask(server, "CREATE TABLE before_a_restart AS SELECT 7 AS x")
    server.stop()
    server.start()
    assert ask(server, "SELECT x FROM before_a_restart") == [7]


def test_reset_deletes_only_what_we_made(new_server: EmbeddedPostgres, place: Path) -> None:
    """`reset` ends the server and deletes the cluster, and no file of anybody else."""
    new_server.reset()
    new_server.start()
    notes = [place / "data" / "notes", place / "data" / "postgres" / "notes"]
    for note in notes:
        note.write_text("mine")
    new_server.reset()
    assert [note.read_text() for note in notes] == ["mine", "mine"]
    assert not new_server.status().cluster.exists()
    assert not new_server.status().running


def test_settings_are_durable_and_local(server: EmbeddedPostgres) -> None:
    """Commits are durable, time is UTC, there is no TCP, and sorting does not depend on the machine."""
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "listen_addresses": "",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "data_checksums": "on",
    }
    assert {name: ask(server, f"SHOW {name}")[0] for name in expected} == expected
    assert ask(server, "SELECT datlocale FROM pg_database WHERE datname = current_database()") == ["C.UTF-8"]


def test_environment_of_the_caller_does_not_matter(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables meant for another PostgreSQL do not lead us there."""
    for name, value in {
        "PGPORT": "1",
        "PGHOST": "db",
        "PGDATA": "/db",
        "PGUSER": "u",
        "LC_ALL": "xx_XX",
    }.items():
        monkeypatch.setenv(name, value)
    server.start()
    assert ask(server, "SELECT 1") == [1]


def test_programs_are_found(server: EmbeddedPostgres) -> None:
    """`binary` gives the server's own pg_dump, and says so when there is no such program."""
    url = server.url().replace("+psycopg2", "")
    dump = subprocess.run([server.binary("pg_dump"), url], capture_output=True, text=True, check=True)
    assert "Dumped from database version 18." in dump.stdout
    with pytest.raises(EmbeddedPostgresError, match="no program pg_nonsense"):
        server.binary("pg_nonsense")


def test_any_path_will_do(place: Path) -> None:
    """Spaces, quotes, Unicode and 700 bytes of path are no obstacle; those of a socket may have 107."""
    data_dir = place / ("déjà vu " * 20) / "$HOME `id` \"quoted\" 'too' \\" / ("x" * 250) / ("y" * 150) / ".croupier"
    server = server_in(place, data_dir)
    server.start()
    assert ask(server, "SHOW data_directory") == [str(data_dir / "postgres" / "data")]


def test_too_long_a_path_is_explained(place: Path) -> None:
    """A path that PostgreSQL cannot handle is refused with what to do about it."""
    data_dir = place.joinpath(*["x" * 200] * 5)
    with pytest.raises(EmbeddedPostgresError, match="CROUPIER_DATA_DIR"):
        server_in(place, data_dir).start()


def test_data_directories_are_separate(server: EmbeddedPostgres, new_server: EmbeddedPostgres) -> None:
    """Several servers run at once, each with its own data."""
    new_server.start()
    for one in (server, new_server):
        ask(one, "CREATE TABLE only_once (x int)")
    assert server.status().pid != new_server.status().pid


def test_folders_that_are_not_ours_stay_as_they_are(new_server: EmbeddedPostgres, place: Path) -> None:
    """Neither owner nor mode of any folder above, nor of the data directory itself, is changed."""
    data_dir = place / "data"
    data_dir.mkdir(mode=0o750)
    folders = [data_dir, *data_dir.parents, Path("/var/lib"), find_programs()]

    def facts() -> list[tuple[int, int, int]]:
        return [(s.st_mode, s.st_uid, s.st_gid) for s in map(Path.stat, folders)]

    before = facts()
    new_server.start()
    new_server.reset()
    assert facts() == before


def test_committed_data_survives_kill_9(server: EmbeddedPostgres) -> None:
    """A killed server leaves its files and, for a while, a busy backend: `start` waits, and recovers."""
    ask(server, "CREATE TABLE before_a_kill AS SELECT 7 AS x")

    def stay_busy() -> None:
        with closing(psycopg2.connect(server.url().replace("+psycopg2", ""))) as connection:
            connection.cursor().execute("SELECT count(*) FROM generate_series(1, 3000000)")

    client = threading.Thread(target=stay_busy)
    client.start()
    while not ask(server, "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%000)'"):
        time.sleep(0.01)
    kill_postmaster(server)
    server.start()
    client.join()
    assert ask(server, "SELECT x FROM before_a_kill") == [7]


def test_process_id_of_another_process_is_left_alone(server: EmbeddedPostgres) -> None:
    """A stale `postmaster.pid` that names a living stranger neither stops us nor harms the stranger."""
    kill_postmaster(server)
    account = Account.of_server()
    with subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account.other else None) as stranger:
        pid_file = server.status().cluster / "postmaster.pid"
        pid_file.write_text("\n".join([str(stranger.pid), *pid_file.read_text().splitlines()[1:], ""]))
        while server.status().running:  # dying
            time.sleep(0.01)
        server.stop()
        server.start()
        server.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_concurrent_starts_share_one_server(new_server: EmbeddedPostgres, place: Path) -> None:
    """Three processes that start the same new data directory at once get the same server."""
    starters = [starter(place) for _ in range(3)]
    answers = {process.communicate()[0] for process in starters}
    assert answers == {f"{new_server.url()} {new_server.status().pid}\n"}


def test_killed_initdb_is_done_again(new_server: EmbeddedPostgres, place: Path) -> None:
    """A starter killed within `initdb` leaves no half cluster, even if its `initdb` still runs meanwhile."""
    with starter(place) as process:
        while not (place / "data" / "postgres" / "data.new" / "base").exists():
            time.sleep(0.001)
        process.kill()
    new_server.start()
    assert ask(new_server, "SELECT 1") == [1]


def test_remains_of_an_initdb_are_cleared_away(new_server: EmbeddedPostgres, place: Path) -> None:
    """What an `initdb` left when the machine went down is not taken for a cluster."""
    home = place / "data" / "postgres"
    (home / "data.new" / "base").mkdir(parents=True)
    (home / "running.lock").touch()
    home.chmod(0o711)
    new_server.start()
    assert ask(new_server, "SELECT 1") == [1]
    assert not (home / "data.new").exists()


def test_server_outlives_its_starter(server: EmbeddedPostgres, shared_place: Path) -> None:
    """Ctrl-C reaches the starter's process group but not the server, so that the web processes finish first."""
    server.stop()
    with starter(shared_place, f"{START}\nimport time\ntime.sleep(60)") as process:
        assert process.stdout
        pid = int(process.stdout.readline().split()[1])
        os.killpg(process.pid, signal.SIGINT)
    assert server.status().pid == pid
    assert os.getsid(pid) != os.getsid(0)


@pytest.mark.parametrize("fault", ["mode", "link", "file"])
def test_socket_folder_of_somebody_else_is_refused(new_server: EmbeddedPostgres, place: Path, fault: str) -> None:
    """In /tmp another user can be first; what could be theirs is neither used nor changed."""
    folder = socket_dir(new_server)
    try:
        if fault == "mode":
            folder.mkdir()
            folder.chmod(0o777)
        elif fault == "link":
            (place / "trap").mkdir(mode=0o700)
            folder.symlink_to(place / "trap")
        else:
            folder.touch(mode=0o700)
        before = folder.lstat()
        with pytest.raises(EmbeddedPostgresError, match="Somebody else made it"):
            new_server.start()
        assert folder.lstat() == before
    finally:
        folder.rmdir() if fault == "mode" else folder.unlink()


def test_folder_of_somebody_else_is_no_home(new_server: EmbeddedPostgres, place: Path) -> None:
    """A `postgres` folder that we did not make is refused, by `reset` too."""
    file = place / "data" / "postgres" / "file"
    file.parent.mkdir(parents=True)
    file.touch()
    for method in (new_server.start, new_server.stop, new_server.reset):
        with pytest.raises(EmbeddedPostgresError, match="did not make it"):
            method()
    assert file.exists()
    file.unlink()


def test_data_directory_deleted_below_a_running_server(new_server: EmbeddedPostgres, place: Path) -> None:
    """`rm -rf` instead of `reset` leads to an empty database, not to an error about the old server."""
    new_server.start()
    ask(new_server, "CREATE TABLE t AS SELECT 7 AS x")
    shutil.rmtree(place / "data")
    new_server.start()
    assert ask(new_server, "SELECT to_regclass('t')::text") == [None]


def test_data_directory_moved_below_a_running_server(new_server: EmbeddedPostgres, place: Path) -> None:
    """A moved directory takes its data along, though its server still listened for the old one."""
    new_server.start()
    ask(new_server, "CREATE TABLE t AS SELECT 7 AS x")
    (place / "data").rename(place / "moved")
    moved = server_in(place, "moved")
    moved.start()
    assert ask(moved, "SELECT x FROM t") == [7]
    socket_dir(new_server).rmdir()


def test_failed_start_shows_the_log(server: EmbeddedPostgres) -> None:
    """If the server ends while it starts, the error contains the reason from its log."""
    configuration = server.status().cluster / "postgresql.auto.conf"
    server.stop()
    configuration.write_text("shared_buffers = '1 parsec'\n")
    with pytest.raises(EmbeddedPostgresError, match="1 parsec"):
        server.start()
    configuration.write_text("")


def test_cluster_of_another_version_is_refused(server: EmbeddedPostgres) -> None:
    """The files of another PostgreSQL are left as they are, with advice."""
    server.stop()
    version = server.status().cluster / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 17.*pg_dump"):
        server.start()
    version.write_text("18\n")


def test_log_does_not_grow_for_ever(server: EmbeddedPostgres) -> None:
    """Failed statements are not logged, and a start puts a large log away, over the one before."""
    size = server.status().log_file.stat().st_size
    with pytest.raises(sa.exc.ProgrammingError):
        ask(server, "SELECT * FROM nothing")
    assert server.status().log_file.stat().st_size == size
    server.stop()
    with server.status().log_file.open("a") as log:
        log.write("x" * 1_000_001)
    server.start()
    assert server.status().log_file.stat().st_size < 10_000


def test_missing_programs_are_explained(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform without programs the error names the way out."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EmbeddedPostgresError, match="set DATABASE_URL"):
        server.start()


def test_operating_system_errors_are_explained(place: Path) -> None:
    """An error of the file system names its path and what can be done."""
    (place / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"file/data.*DATABASE_URL"):
        EmbeddedPostgres(place / "file" / "data").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")
def test_only_the_user_who_started_it_can_connect(server: EmbeddedPostgres) -> None:
    """Not even other processes of the server's user can: the kernel says who they are."""
    psql = [str(server.binary("psql")), server.url().replace("+psycopg2", ""), "-c", "SELECT 1"]
    assert run(psql).returncode == 0
    assert "Peer authentication failed" in run(psql, account=Account.of_server()).stderr
    daemon = pwd.getpwnam("daemon")
    stranger = Account(uid=daemon.pw_uid, gid=daemon.pw_gid, name="daemon", other=True)
    assert "Permission denied" in run(psql, account=stranger).stderr


def test_files_are_private(server: EmbeddedPostgres) -> None:
    """Socket folder and cluster can be entered by the server's user alone."""
    for folder in (socket_dir(server), server.status().cluster):
        facts = folder.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o700, Account.of_server().uid)
