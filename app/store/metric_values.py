"""Figures of closed windows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import metric_values

__all__ = [
    "Level",
    "MetricValue",
    "Place",
    "Selection",
    "delete_old",
    "done",
    "last_window",
    "newest",
    "page",
    "put",
    "read",
    "replace_window",
    "windows",
]

Level = Literal["business", "online", "offline", "data"]

_KEY = [column.name for column in metric_values.primary_key]
_COLUMNS = [metric_values.c[name] for name in (*_KEY, "value", "n", "detail")]
# Parameters of one statement are limited, and so is the memory for it.
_AT_ONCE = 1_000


class MetricValue(Struct, frozen=True, kw_only=True):
    """One figure of one window.

    Attributes:
        experiment: its key.
        level: where it stands in the hierarchy of metrics, or `data`.
        window_start: the window's start.
        window_s: its width in seconds.
        metric: its name.
        k: cut-off of the lists; 0: it has none.
        arm: key of the arm; '': all arms together.
        value: None: there was nothing to measure.
        n: lists, decisions or events that the value rests on.
        detail: what else there is to say, as JSON.
    """

    experiment: str
    level: Level
    window_start: datetime
    window_s: int
    metric: str
    k: int = 0
    arm: str = ""
    value: float | None = None
    n: int = 0
    detail: Mapping[str, Any] = {}


class Selection(Struct, frozen=True, kw_only=True):
    """Which of an experiment's figures are asked for; None: all.

    Attributes:
        levels: of these levels only.
        metrics: of these metrics only.
        arm: of this arm only; '': of all together.
        window_s: of windows of this width only.
        since: of windows that start then or later.
        until: of windows that start before.
    """

    levels: Sequence[Level] = get_args(Level)
    metrics: Sequence[str] | None = None
    arm: str | None = None
    window_s: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class Place(Struct, frozen=True):
    """Where a figure stands in the order of an experiment's: which one it is."""

    window_start: datetime
    window_s: int
    level: Level
    metric: str
    k: int
    arm: str

    @classmethod
    def of(cls, value: MetricValue) -> "Place":
        """The place of a figure."""
        return cls(*(getattr(value, name) for name in cls.__struct_fields__))


def put(connection: sa.Connection, values: Sequence[MetricValue]) -> None:
    """Inserts figures, in the order of their keys, or replaces those of the same window."""
    rows = sorted((_as_row(value) for value in values), key=lambda row: [row[name] for name in _KEY])
    for start in range(0, len(rows), _AT_ONCE):
        statement = insert(metric_values).values(rows[start : start + _AT_ONCE])
        changes: dict[str, Any] = {name: statement.excluded[name] for name in ("value", "n", "detail")}
        changes["computed_at"] = sa.func.now()
        connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=changes))


def replace_window(connection: sa.Connection, values: Sequence[MetricValue], levels: Sequence[Level]) -> None:
    """Puts all figures of one window and of these levels in the place of those that were there."""
    c, window = metric_values.c, values[0]
    same = (c.experiment == window.experiment, c.window_start == window.window_start, c.window_s == window.window_s)
    connection.execute(sa.delete(metric_values).where(*same, c.level.in_(levels)))
    put(connection, values)


def done(connection: sa.Connection, experiment: str, level: Level, metric: str, window_s: int) -> set[datetime]:
    """Starts of the windows of a width that have a figure of a metric, of all arms together."""
    c = metric_values.c
    query = sa.select(c.window_start).where(
        c.experiment == experiment, c.level == level, c.metric == metric, c.window_s == window_s, c.arm == ""
    )
    return set(connection.scalars(query))


def read(
    connection: sa.Connection,
    experiment: str,
    *,
    since: datetime,
    until: datetime,
    levels: Sequence[Level] = get_args(Level),
    metrics: Sequence[str] | None = None,
    window_s: int | None = None,
    limit: int = 100_000,
) -> list[MetricValue]:
    """Figures of the windows that start from `since` and before `until`, the oldest first.

    Args:
        connection: where to read.
        experiment: its key.
        since: the earliest start of a window.
        until: windows start before it.
        levels: of these levels only.
        metrics: of these metrics only; None: of all.
        window_s: of windows of this width only; None: of all.
        limit: the most that are returned.
    """
    asked = Selection(since=since, until=until, levels=levels, metrics=metrics, window_s=window_s)
    return page(connection, experiment, asked, limit=limit)


def page(
    connection: sa.Connection, experiment: str, asked: Selection, *, limit: int, after: Place | None = None
) -> list[MetricValue]:
    """Figures in the order of their places, at most `limit` of those that come after one."""
    c = metric_values.c
    wanted = {c.window_s: asked.window_s, c.arm: asked.arm}
    query = sa.select(*_COLUMNS).where(c.experiment == experiment, c.level.in_(asked.levels))
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if asked.since is not None:
        query = query.where(c.window_start >= asked.since)
    if asked.until is not None:
        query = query.where(c.window_start < asked.until)
    if asked.metrics is not None:
        query = query.where(c.metric.in_(asked.metrics))
    order = [c[name] for name in Place.__struct_fields__]
    if after is not None:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*msgspec.structs.astuple(after)))
    return [MetricValue(**row) for row in connection.execute(query.order_by(*order).limit(limit)).mappings()]


def last_window(connection: sa.Connection, experiment: str, level: Level, window_s: int) -> datetime | None:
    """Start of the newest window of a width that has figures of a level; None: none has."""
    c = metric_values.c
    query = sa.select(sa.func.max(c.window_start)).where(
        c.experiment == experiment, c.level == level, c.window_s == window_s
    )
    found: datetime | None = connection.scalar(query)
    return found


def newest(connection: sa.Connection, experiment: str, level: Level) -> list[MetricValue]:
    """The figures of a level of the window that starts last."""
    c = metric_values.c
    mine = (c.experiment == experiment, c.level == level)
    width = sa.select(c.window_start, c.window_s).where(*mine).order_by(c.window_start.desc(), c.window_s).limit(1)
    last = connection.execute(width).first()
    if last is None:
        return []
    same = (c.window_start == last.window_start, c.window_s == last.window_s)
    query = sa.select(*_COLUMNS).where(*mine, *same).order_by(c.metric, c.k, c.arm)
    return [MetricValue(**row) for row in connection.execute(query).mappings()]


def windows(
    connection: sa.Connection,
    experiment: str,
    level: Level,
    *,
    since: datetime | None,
    before: datetime | None,
    limit: int,
) -> list[datetime]:
    """Starts of the newest windows that have figures of a level, the newest first, within a time."""
    c = metric_values.c
    query = sa.select(c.window_start).where(c.experiment == experiment, c.level == level).distinct()
    query = query if since is None else query.where(c.window_start >= since)
    query = query if before is None else query.where(c.window_start < before)
    return list(connection.scalars(query.order_by(c.window_start.desc()).limit(limit)))


def delete_old(
    connection: sa.Connection, experiment: str, before: datetime, *, narrower_than_s: int | None = None
) -> int:
    """Deletes the figures of windows that start before a moment, of those narrower than so many seconds; how many."""
    c = metric_values.c
    query = sa.delete(metric_values).where(c.experiment == experiment, c.window_start < before)
    if narrower_than_s is not None:
        query = query.where(c.window_s < narrower_than_s)
    return connection.execute(query).rowcount


def _as_row(value: MetricValue) -> dict[str, Any]:
    return {name: getattr(value, name) for name in (*_KEY, "value", "n", "detail")}
