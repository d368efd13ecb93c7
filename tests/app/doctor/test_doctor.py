"""`croupier doctor`: what is wrong is said where it stands, with what to do."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from app.cli import main
from app.doctor.database import check_contents, check_schema, check_server
from app.doctor.examination import examine
from app.doctor.finding import Finding
from app.doctor.machine import check_machine
from app.keys import ensure_key
from app.serving.spool import Spool
from app.settings import Settings
from app.store.database import Database
from app.store.facts import Contents, Server
from app.store.migrate import head_revision
from tests.running import Service, free_port

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERVER = Server(
    version="18.4", major=18, now=NOW, off=[], connections=20, most_connections=200, oldest_transaction_s=1.0,
    connected=["learner", "monitor", "web"], active=["learner", "monitor"],
)  # fmt: skip
CONTENTS = Contents(
    oldest_day=datetime(2026, 10, 25, tzinfo=UTC), newest_day=datetime(2026, 12, 8, tzinfo=UTC), keys=1, quarantined=0
)


def states(findings: Iterator[Finding] | list[Finding]) -> dict[str, str]:
    """The state by check."""
    return {finding.check: finding.state for finding in findings}


def wrong(findings: Iterator[Finding] | list[Finding]) -> dict[str, str]:
    """What is not ok."""
    return {check: state for check, state in states(findings).items() if state != "ok"}


def of_server(skew_s: float = 0.0, **facts: Any) -> dict[str, str]:
    """What is wrong with a server that is well but for some facts."""
    return wrong(check_server(replace(SERVER, **facts), skew_s=skew_s))


def of_contents(**facts: Any) -> dict[str, str]:
    """What is wrong with a database that is well but for some facts."""
    return wrong(check_contents(replace(CONTENTS, **facts), NOW, retention_days=30))


def test_a_whole_service_has_no_fault(service: Service) -> None:
    """Every check of the reference is made, none finds a fault, and the exit status says so."""
    ran = service.command("doctor")
    assert ran.returncode == 0, ran.stdout
    assert "fault" not in ran.stdout
    checks = {line[9:].partition(":")[0] for line in ran.stdout.splitlines()[1:] if line[:8].strip()}
    page = (Path(__file__).parents[3] / "docs" / "reference.md").read_text().partition("## Checks")[2]
    documented = re.findall(r"^\| ([^|`-]*) \|", page.partition("## Settings")[0], re.MULTILINE)[1:]
    assert checks == {name for names in documented for name in names.split(", ")}


def test_wrong_settings_are_told_all_at_once_and_nothing_else_is_tried(tmp_path: Path) -> None:
    """Since nothing else can be trusted then; the exit status is 1."""
    environment = {"CROUPIER_DATA_DIR": str(tmp_path), "CROUPIER_WORKERZ": "2", "CROUPIER_PORT": "x"}
    ran = CliRunner().invoke(main, ["doctor"], env=environment)
    assert ran.exit_code == 1
    assert ran.output.count("fault") == 1
    assert "CROUPIER_WORKERZ" in ran.output
    assert "CROUPIER_PORT" in ran.output
    assert "→" in ran.output


def test_a_database_that_is_away_is_told_in_a_sentence(tmp_path: Path) -> None:
    """With what to do; what can be checked without it is checked."""
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    found = list(examine({"DATABASE_URL": url, "CROUPIER_DATA_DIR": str(tmp_path)}))
    assert wrong(found) == {"database": "fault"}
    assert {"settings", "spool"} <= states(found).keys()
    assert all(finding.advice for finding in found if finding.state != "ok")


def test_an_embedded_database_is_not_started(tmp_path: Path) -> None:
    """Looking changes nothing: no server, no folder."""
    assert wrong(examine({"CROUPIER_DATA_DIR": str(tmp_path / "data")})) == {"database": "fault"}
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_processes_or_keys(database: Database, tmp_path: Path) -> None:
    """No role runs, nobody could ask; the rest is well. Then a key is made."""
    url = database.engine.url.render_as_string(hide_password=False)
    environment = {"DATABASE_URL": url, "CROUPIER_DATA_DIR": str(tmp_path)}
    missing = {"web": "warning", "learner": "fault", "monitor": "fault"}
    assert wrong(examine(environment)) == {**missing, "keys": "fault"}
    ensure_key(database, "a-key-of-a-test")
    assert wrong(examine(environment)) == missing


def test_a_database_that_was_never_migrated(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Says so, and looks for nothing that migrations make."""
    database = Database(url := new_database())
    with database.transaction() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    database.close()
    found = list(examine({"DATABASE_URL": url, "CROUPIER_DATA_DIR": str(tmp_path)}))
    assert states(found)["schema"] == "fault"
    assert "keys" not in states(found)


def test_the_schema_against_what_this_version_knows() -> None:
    """Older is a fault; newer is an upgrade under way."""
    assert [check_schema(revision, "0010").state for revision in (None, "0009", "0010", "0011")] == [
        "fault", "fault", "ok", "warning",
    ]  # fmt: skip
    assert check_schema(head_revision(), head_revision()).state == "ok"


def test_what_is_wrong_with_a_server() -> None:
    """Version, durability, clocks, connections and transactions, each by itself."""
    assert of_server() == {}
    assert of_server(version="14.1", major=14) == {"PostgreSQL": "fault"}
    assert of_server(off=["fsync"]) == {"durability": "fault"}
    assert of_server(-2.0) == {"clock": "warning"}
    assert of_server(61.0) == {"clock": "fault"}
    assert of_server(connections=161) == {"connections": "warning"}
    assert of_server(oldest_transaction_s=3601.0) == {"transactions": "warning"}
    assert of_server(active=["monitor"]) == {"learner": "fault"}
    assert of_server(connected=["learner", "monitor"]) == {"web": "warning"}


def test_what_is_wrong_with_contents() -> None:
    """Partitions ahead, retention, keys and quarantine, each by itself."""
    assert of_contents() == {}
    assert of_contents(newest_day=NOW + timedelta(days=10)) == {"partitions": "warning"}
    assert of_contents(newest_day=datetime(2026, 11, 24, tzinfo=UTC)) == {"partitions": "fault"}
    assert of_contents(newest_day=None) == {"partitions": "fault"}
    assert of_contents(oldest_day=datetime(2026, 10, 20, tzinfo=UTC)) == {"retention": "warning"}
    assert of_contents(keys=0) == {"keys": "fault"}
    assert of_contents(quarantined=1) == {"quarantine": "warning"}


def test_what_waits_in_the_spool(tmp_path: Path) -> None:
    """It is told; a full one is a fault."""
    settings = Settings(data_dir=tmp_path, spool_limit_mb=1)
    assert wrong(check_machine(settings)) == {}
    spool = Spool(tmp_path / "spool", limit_bytes=10_000_000)
    spool.append([b"x" * 1000])
    assert wrong(check_machine(settings)) == {"spool": "warning"}
    spool.append([b"x" * 1_000_000])
    assert wrong(check_machine(settings)) == {"spool": "fault"}
    spool.close()


def test_a_disk_without_room_for_the_spool(tmp_path: Path) -> None:
    """The spool's limit must fit."""
    assert wrong(check_machine(Settings(data_dir=tmp_path, spool_limit_mb=1_000_000))) == {"disk": "fault"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, where not even root can write")
def test_a_data_directory_that_cannot_be_written() -> None:
    """Is a fault before anything is lost in it."""
    assert states(check_machine(Settings(data_dir=Path("/proc/croupier"))))["data directory"] == "fault"
