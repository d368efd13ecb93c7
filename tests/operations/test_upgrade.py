"""What docs/operations.md says of upgrades: when a migration may run, and that processes of before go on meanwhile."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.store.database import Database
from tests.faults.load import Load, check_promises, has_database, load_on
from tests.faults.site import LONG
from tests.running import free_port, running_service, until

ROLES = ("web", "learner", "monitor")
ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted((ROOT / "migrations" / "versions").glob("*.py"))


# What takes from processes of before what they use, or demands of them what they do not give.
_BREAKS = re.compile(
    r"\bDROP (TABLE|COLUMN|CONSTRAINT|INDEX)\b|\bRENAME\b|\bALTER COLUMN \w+ (SET NOT NULL|TYPE|DROP DEFAULT)\b"
    r"|\bADD COLUMN (?![^,;]*\bDEFAULT\b)[^,;]*\bNOT NULL\b",
    re.IGNORECASE,
)


def git(*arguments: str) -> str:
    """What git says of this project; nothing where there is no git, or no history."""
    try:
        ran = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return ran.stdout.strip()


def versions_before() -> list[str]:
    """The commits before each change of the schema, the newest first: those that the present one promises to go on.

    Left out are commits of before a migration that needs a stop, and those whose migrations were numbered anew later.
    """
    changes = git("log", "--first-parent", "--format=%H", "--diff-filter=M", "--", "migrations/HEAD").split()
    before = [git("rev-parse", "--verify", "--quiet", f"{change}^1") for change in changes]
    return [commit for commit in before if commit and goes_on(migrations_of(commit))]


def migrations_of(version: str) -> list[str]:
    """Names of the migrations that a commit has."""
    return [Path(name).name for name in git("ls-tree", "--name-only", version, "migrations/versions/").split()]


def goes_on(names: list[str]) -> bool:
    """Whether processes that know these migrations, and no more, are promised to work with the schema of now."""
    missing = MIGRATIONS[len(names) :]
    is_ours = names == [path.name for path in MIGRATIONS[: len(names)]]
    return is_ours and "stop" not in {deployment_of(path) for path in missing}


def deployment_of(migration: Path) -> str:
    """When it may run: the word in its docstring."""
    (word,) = re.findall(r"^Deployment: (\w+)\.$", migration.read_text().split('"""', 2)[1], re.MULTILINE)
    return str(word)


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda path: path.stem)
def test_each_migration_says_when_it_may_run(migration: Path) -> None:
    """Its docstring has one of three words; one that takes away what processes of before use is not `pre`."""
    word = deployment_of(migration)
    assert word in {"pre", "post", "stop"}
    assert (word == "pre") == (not _BREAKS.search(migration.read_text().split('"""', 2)[2]))


def tree_of(version: str, folder: Path) -> Path:
    """The code of another version."""
    archive = folder / "tree.tar"
    git("archive", f"--output={archive}", version)
    subprocess.run(["tar", "-xf", archive, "-C", folder, "--exclude=data/*"], check=True)
    return folder


def migrate(code: Path, database_url: str) -> None:
    """To the schema of a tree."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROUPIER_")}
    command = [sys.executable, "-m", "app.cli", "migrate"]
    subprocess.run(command, cwd=code, env={**environment, "DATABASE_URL": database_url}, check=True)


def empty(database_url: str) -> str:
    """The same database without any schema."""
    database = Database(database_url)
    with database.transaction() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    database.close()
    return database_url


def no_request_failed(load: Load) -> None:
    """Every request was answered, with success, and its decision committed, not spooled."""
    assert load.broken == []
    assert load.statuses.keys() == {200}
    assert all(d.answers and d.kept == d.sent.keys() for d in load.decisions)
    assert {answer["durability"] for d in load.decisions for answer in d.answers} == {"committed"}


@pytest.mark.timeout(300)  # two versions one after the other, and machines that run tests are busy
@pytest.mark.parametrize("back", range(10 if LONG else 1))
def test_processes_of_before_work_while_the_schema_is_newer(
    back: int, new_database: Callable[[], str], tmp_path: Path
) -> None:
    """Migrated under load, then both versions at once, then the new one: no request fails, statistics are true."""
    before = versions_before()
    if len(before) <= back:
        pytest.skip("the version before is not here: no git clone, a shallow one, or the newest migration needs a stop")
    url = empty(new_database())
    old_folder, new_folder, tree = (tmp_path / name for name in ("old", "new", "tree"))
    for folder in (old_folder, new_folder, tree):
        folder.mkdir()
    code, address = tree_of(before[back], tree), f"http://127.0.0.1:{(port := free_port())}"
    migrate(code, url)
    with ExitStack() as newer, running_service(url, old_folder, code=code) as old:
        with load_on(old, "home", clients=4, also=[address]) as load:
            # Statements of before are prepared by now, and must go on working too.
            migrate(ROOT, url)
            load.wait_for(200)
            new = newer.enter_context(running_service(url, new_folder, CROUPIER_PORT=str(port)))
            until(lambda: has_database(new), "the new version to be up")
            with load_on(new, "home", clients=4) as beside:
                load.wait_for(100)
            for role in ROLES:
                assert old.stop(role) == 0
            load.wait_for(100)
        for one in (load, beside):
            no_request_failed(one)
        load.decisions += beside.decisions
        check_promises(new, load)
