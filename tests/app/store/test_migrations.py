"""The migrations against app/store/tables.py, and against other migrators."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateTable

from app.errors import Unavailable
from app.ids import day_bounds
from app.specification import Metric, Reward, contract_of
from app.store import contracts
from app.store.database import Database
from app.store.migrate import _configuration, current_revision, head_revision, heads, migrate
from app.store.tables import PARTITIONED, experiments, metadata
from tests.app.building import now, specification

# Everything about a schema's columns, keys, indexes and constraints, as PostgreSQL itself words it.
_COLUMNS = r"""
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
       regexp_replace(pg_get_expr(d.adbin, d.adrelid), '^''(-?[0-9]+)''::.*$', '\1')  -- '0'::bigint is 0
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND c.relname <> 'alembic_version' AND a.attnum > 0 ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
SELECT c.relname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = current_schema()::regnamespace AND NOT c.relispartition
    AND c.relname <> 'alembic_version' ORDER BY 1, 2
"""
_INDEXES = """
SELECT tablename, replace(indexdef, current_schema() || '.', '') FROM pg_indexes
JOIN pg_class c ON c.relname = tablename AND c.relnamespace = schemaname::regnamespace
WHERE schemaname = current_schema() AND NOT c.relispartition AND tablename <> 'alembic_version' ORDER BY 1, 2
"""
_PARTITION_KEYS = """
SELECT c.relname, pg_get_partkeydef(c.oid) FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'p' ORDER BY 1
"""


@pytest.fixture
def empty(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database that was never migrated."""
    database = Database(new_database())
    with database.transaction() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    yield database
    database.close()


@contextmanager
def another(database: Database, statement: str) -> Iterator[None]:
    """Another session has executed a statement and not yet committed."""
    with database.engine.connect() as connection, connection.begin():
        connection.execute(sa.text(statement))
        yield


def impatient(database: Database, milliseconds: int = 200) -> Database:
    """A database of the same URL whose migrations wait that long for a table."""
    url = database.engine.url.render_as_string(hide_password=False)
    made = Database(url, name="croupier-migrate")

    @sa.event.listens_for(made.engine, "before_cursor_execute", retval=True)
    def shorten(*arguments: Any) -> tuple[str, Any]:
        statement, parameters = arguments[2], arguments[3]
        return statement.replace("lock_timeout = '5s'", f"lock_timeout = '{milliseconds}ms'"), parameters

    return made


def relations(database: Database) -> list[str]:
    """Names of all tables and indexes of our schema."""
    with database.transaction() as connection:
        query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        return list(connection.scalars(sa.text(query)))


def _ddl(table: sa.Table) -> str:
    return str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
    """Whether autogenerate is to look at something: no partitions, no table of Alembic's own."""
    if kind != "table" or name is None:
        return True
    return name != "alembic_version" and not name.startswith(tuple(f"{table}_2" for table in PARTITIONED))


def test_autogenerate_finds_nothing_to_do(database: Database) -> None:
    """What migrations build is what tables.py says, as far as Alembic compares them."""
    with database.transaction() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    "catalogue",
    [_COLUMNS, _CONSTRAINTS, _INDEXES, _PARTITION_KEYS],
    ids=["columns", "constraints", "indexes", "partitions"],
)
def test_a_schema_built_from_the_tables_is_the_migrated_one(database: Database, catalogue: str) -> None:
    """Columns, defaults, keys, constraints, indexes and partition keys agree in PostgreSQL's own words."""
    with database.engine.connect() as connection, connection.begin() as transaction:
        migrated = [tuple(row) for row in connection.execute(sa.text(catalogue))]
        connection.execute(sa.text("CREATE SCHEMA twin"))
        connection.execute(sa.text("SET LOCAL search_path = twin"))
        metadata.create_all(connection, checkfirst=False)
        declared = [tuple(row) for row in connection.execute(sa.text(catalogue))]
        transaction.rollback()
    assert migrated
    assert declared == migrated


def test_the_partitioned_tables_are_those_declared_so() -> None:
    """`PARTITIONED` names exactly the tables that have a partition key."""
    declared = {table.name for table in metadata.tables.values() if "PARTITION BY" in _ddl(table)}
    assert declared == set(PARTITIONED)


def test_the_head_file_is_alembics_head() -> None:
    """migrations/HEAD, which makes two branches conflict early, names Alembic's only head."""
    assert heads() == [head_revision()]


def test_a_migrated_database_is_at_the_head(database: Database) -> None:
    """The revision that a database records is the one that the code knows."""
    with database.transaction() as connection:
        assert current_revision(connection) == head_revision()


def test_an_empty_database_is_at_no_revision(empty: Database) -> None:
    """A database that was never migrated says so."""
    with empty.transaction() as connection:
        assert current_revision(connection) is None


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A second run of the migrations finds nothing to do."""
    before = relations(database)
    assert migrate(database, now()) == head_revision()
    assert relations(database) == before


def test_two_migrators_at_once_build_the_schema_once(empty: Database) -> None:
    """Of migrators that start together one works and the others wait for it; all succeed."""
    moment = now()

    def one(_: int) -> str:
        return migrate(empty, moment)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, range(3))) == [head_revision()] * 3
    with empty.transaction() as connection:
        assert connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all() == [head_revision()]
        assert connection.scalar(sa.text("SELECT count(*) FROM catalogue")) == 1


def test_a_second_migrator_waits_longer_than_the_lock_timeout_for_the_first(empty: Database) -> None:
    """Only tables are waited for impatiently; another migrator may take its time."""
    hasty = impatient(empty, 50)
    with ThreadPoolExecutor(1) as pool:
        with another(empty, f"SELECT pg_advisory_xact_lock({0x6D696772617465}), pg_sleep(0.3)"):
            second = pool.submit(migrate, hasty, now())
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)
        assert second.result(timeout=20) == head_revision()
    hasty.close()


def test_a_locked_table_stops_a_migration_soon_and_leaves_nothing_half_done(empty: Database) -> None:
    """A table that others hold makes a migration give up within the lock timeout, with nothing of it left."""
    with empty.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
    before = relations(empty)
    hasty = impatient(empty)
    # The schema is built and then its number is written: the lock is met after the first statements.
    with another(empty, "LOCK alembic_version IN SHARE MODE"):
        started = datetime.now().astimezone()
        with pytest.raises(Unavailable):
            migrate(hasty, now())
        assert (datetime.now().astimezone() - started).total_seconds() < 3
    assert relations(empty) == before
    assert migrate(hasty, now()) == head_revision()
    hasty.close()


def test_what_was_there_before_the_reward_contract_gets_one(empty: Database) -> None:
    """Experiments of the first schema have a contract for each epoch, and its days have partitions of exposures."""
    spec = specification(metrics=(Metric(key="revenue", aggregation="sum"),), reward=Reward(window_s=7))
    with empty.transaction() as connection:
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        connection.execute(
            insert(experiments).values(
                key="home",
                specification=msgspec.to_builtins(spec),
                state="running",
                version=3,
                epoch=2,
                allocation=0,
                salt=b"",
            )
        )
        first, end = day_bounds(now() - timedelta(days=5))
        bounds = f"FOR VALUES FROM ('{first}') TO ('{end}')"
        connection.execute(sa.text(f"CREATE TABLE decisions_20200101 PARTITION OF decisions {bounds}"))
    migrate(empty, now())
    with empty.transaction() as connection:
        assert contracts.of_experiment(connection, "home") == {1: contract_of(spec), 2: contract_of(spec)}
    assert "exposures_20200101" in relations(empty)
