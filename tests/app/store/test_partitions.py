from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import CheckViolation

from app.ids import day_bounds, first_id_at
from app.store.database import Connection, Database
from app.store.partitions import DAYS_AHEAD, DAYS_BEHIND, make_partitions, oldest_day
from app.store.tables import PARTITIONED
from tests.app.building import decision, id_at, now, query, record

DAY = timedelta(days=1)
FAR = datetime(2031, 5, 17, 13, 30, tzinfo=UTC)
HOW_MANY = (DAYS_BEHIND + 1 + DAYS_AHEAD) * len(PARTITIONED)


def partition_names(database: Database) -> set[str]:
    """Names of all partitions."""
    attached = (
        "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class p ON p.oid = inhparent WHERE relkind = 'p'"
    )
    return {name for (name,) in query(database, attached)}


def make(database: Database, moment: datetime) -> int:
    """Makes partitions in a transaction of its own."""
    with database.transaction() as connection:
        return make_partitions(connection, moment)


def home_of(connection: Connection, decision_id: object) -> str | None:
    """The partition that holds a decision."""
    found = sa.text("SELECT tableoid::regclass::text FROM decisions WHERE decision_id = CAST(:id AS uuid)")
    name: str | None = connection.scalar(found, {"id": str(decision_id)})
    return name


def test_partitions_are_made_ahead_and_behind(database: Database) -> None:
    """Each partitioned table gets a partition for yesterday, today and the next two weeks."""
    assert make(database, FAR) == HOW_MANY
    wanted = {
        f"{table}_{FAR + offset * DAY:%Y%m%d}"
        for table in PARTITIONED
        for offset in range(-DAYS_BEHIND, DAYS_AHEAD + 1)
    }
    assert wanted <= partition_names(database)


def test_making_partitions_again_makes_only_what_is_missing(database: Database) -> None:
    """A second call finds nothing to do, and a day later one more day is made."""
    make(database, FAR)
    assert make(database, FAR + timedelta(hours=3)) == 0
    assert make(database, FAR + DAY) == len(PARTITIONED)


def test_two_makers_at_once_make_each_partition_once(database: Database) -> None:
    """Makers that start together do not collide; together they make what one would have made."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(database, FAR), range(4)))
    assert sorted(made) == [0, 0, 0, HOW_MANY]


def test_partitions_are_made_while_the_tables_are_read_and_written(database: Database) -> None:
    """Neither a long reader nor an open batch keeps partitions from being made, or is kept waiting by them."""
    with database.engine.connect() as busy, busy.begin():
        for table in PARTITIONED:
            busy.execute(sa.text(f"LOCK {table} IN ROW EXCLUSIVE MODE"))
            busy.execute(sa.select(sa.func.count()).select_from(sa.table(table)))
        with database.transaction() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = '300ms'"))
            assert make_partitions(connection, FAR) == HOW_MANY


def test_a_made_partition_is_like_its_parent(database: Database) -> None:
    """A new partition has its parent's columns, defaults and primary key, as the index of that key."""
    make(database, FAR)
    for table in PARTITIONED:
        name = f"{table}_{FAR:%Y%m%d}"
        inspector = sa.inspect(database.engine)
        assert [str(c) for c in inspector.get_columns(name)] == [str(c) for c in inspector.get_columns(table)]
        assert (
            inspector.get_pk_constraint(name)["constrained_columns"]
            == (inspector.get_pk_constraint(table)["constrained_columns"])
        )
        attached = "SELECT count(*) FROM pg_inherits WHERE inhrelid = CAST(:index AS regclass)"
        assert query(database, attached, index=f"{name}_pkey") == [(1,)]


def test_the_oldest_day_is_the_first_with_a_partition(database: Database) -> None:
    """The oldest day starts at midnight UTC, whatever the zone partitions were asked for in."""
    with database.transaction() as connection:
        before = oldest_day(connection)
        assert before == now().replace(hour=0, minute=0, second=0, microsecond=0) - DAYS_BEHIND * DAY
        early = datetime(2020, 1, 2, 1, 0, tzinfo=datetime.fromisoformat("2020-01-01T00:00:00+03:00").tzinfo)
        make_partitions(connection, early)
        assert oldest_day(connection) == datetime(2020, 1, 1, tzinfo=UTC) - DAYS_BEHIND * DAY


def test_without_partitions_there_is_no_oldest_day(new_database: Callable[[], str]) -> None:
    """Before the first partition is made there is no oldest day."""
    database = Database(new_database())
    with database.transaction() as connection:
        for table in PARTITIONED:
            connection.execute(sa.text(f"DROP TABLE {table}"))
        assert oldest_day(connection) is None
    database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    day=st.integers(-DAYS_BEHIND, DAYS_AHEAD),
    part=st.one_of(
        st.sampled_from([0, 1, 86_399_999, 86_399_998, 43_200_000]),
        st.integers(0, 86_399_999),
    ),
)
def test_an_id_lands_in_the_partition_of_its_utc_day(database: Database, day: int, part: int) -> None:
    """A decision's partition is named after the UTC day of its id, up to the millisecond before midnight."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0) + day * DAY
    moment = midnight + timedelta(milliseconds=part)
    row = decision(decision_id=id_at(moment))
    assert record(database, [row]) == {row.decision_id}
    with database.transaction() as connection:
        assert home_of(connection, row.decision_id) == f"decisions_{midnight:%Y%m%d}"


def test_the_bounds_of_a_day_belong_to_two_days(database: Database) -> None:
    """The first id of a day is in that day's partition, and the first id of the next in the next's."""
    first, end = day_bounds(now())
    rows = [decision(decision_id=first), decision(decision_id=end)]
    record(database, rows)
    with database.transaction() as connection:
        homes = [home_of(connection, row.decision_id) for row in rows]
    assert homes == [f"decisions_{day:%Y%m%d}" for day in (now(), now() + DAY)]


@pytest.mark.parametrize("offset", [-DAYS_BEHIND - 1, DAYS_AHEAD + 1])
def test_an_id_outside_all_partitions_is_refused(database: Database, offset: int) -> None:
    """A decision of a day without a partition is an error, and counts nothing."""
    row = decision(decision_id=first_id_at(now() + offset * DAY))
    with pytest.raises(CheckViolation, match="no partition"):
        record(database, [row])
    assert query(database, "SELECT count(*) FROM decision_counts") == [(0,)]
