from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.ids import day_bounds, first_id_at, new_id, time_of
from tests.app.building import id_at

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
# Whole milliseconds between 1970 and 2100, in any zone.
MOMENTS = st.builds(
    lambda milliseconds, zone: datetime(1970, 1, 1, tzinfo=UTC).astimezone(zone) + milliseconds * MILLISECOND,
    st.integers(0, 4_102_444_799_999),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def test_new_ids_are_uuids_of_version_7_of_now() -> None:
    """A fresh id is of the present millisecond."""
    before = datetime.now(UTC) - MILLISECOND
    made = new_id()
    assert (type(made), made.version, made.variant) == (UUID, 7, "specified in RFC 4122")
    assert before <= time_of(made) <= datetime.now(UTC)


def test_new_ids_differ_and_sort_by_time() -> None:
    """Ids made one after another never repeat, and their order is that of their times."""
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    times = [time_of(one) for one in made]
    assert times == sorted(times)


@given(MOMENTS)
def test_the_time_of_an_id_is_the_millisecond_it_was_made_at(moment: datetime) -> None:
    """Times survive the way into an id and back, exactly, from any zone."""
    assert time_of(id_at(moment)) == moment
    assert time_of(id_at(moment)).tzinfo is UTC


@example(datetime(1970, 1, 1, 2, 19, 27, 675_000, tzinfo=UTC))  # as seconds, its float is a little less
@given(MOMENTS)
def test_the_first_id_at_a_moment_is_the_least_of_its_millisecond(moment: datetime) -> None:
    """Every id of that millisecond is the same or greater, and every earlier one is less."""
    first = first_id_at(moment)
    assert first.int & ((1 << 80) - 1) == 0
    assert first < id_at(moment)
    assert first.int >> 80 == id_at(moment).int >> 80
    if moment.timestamp() >= 0.001:
        assert id_at(moment - MILLISECOND) < first


@given(MOMENTS)
def test_the_bounds_of_a_day_hold_exactly_its_ids(moment: datetime) -> None:
    """An id lies within the bounds of the UTC day it was made on, and of no other."""
    first, end = day_bounds(moment)
    assert first <= id_at(moment) < end
    assert day_bounds(moment + DAY)[0] == end
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert first == first_id_at(midnight)
    assert id_at(midnight + DAY - MILLISECOND) < end <= id_at(midnight + DAY)


@pytest.mark.parametrize("other", [uuid4(), UUID(int=0), UUID(int=2**128 - 1)])
def test_the_time_of_another_kind_of_uuid_is_refused(other: UUID) -> None:
    """Only version 7 says when it was made; the message says what it is instead."""
    with pytest.raises(ValueError, match=f"{other}.*not a UUIDv7"):
        time_of(other)


def test_an_id_of_the_far_future_is_refused_as_a_value() -> None:
    """The largest time that an id can hold is beyond what dates can: it is a ValueError, as callers expect."""
    with pytest.raises(ValueError, match="year"):
        time_of(UUID(int=((1 << 48) - 1) << 80 | 7 << 76 | 2 << 62))
