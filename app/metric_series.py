"""Figures of closed windows, as they were kept, a page at a time."""

import base64
from datetime import datetime

import msgspec
from msgspec import Struct

from app.errors import InvalidInput, NotFound
from app.store import experiments, metric_values
from app.store.database import Database
from app.store.metric_values import Level, MetricValue, Place, Selection

__all__ = ["SeriesPage", "series_page"]

_PLACE = tuple[datetime, int, Level, str, int, str]


class SeriesPage(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/experiments/{key}/metrics`: the oldest windows first."""

    experiment: str
    values: list[MetricValue]
    next_after: str | None  # None: this is the last page


def series_page(database: Database, key: str, asked: Selection, *, after: str | None, limit: int) -> SeriesPage:
    """A page of an experiment's figures, the oldest windows first.

    Args:
        database: where to read.
        key: the experiment's.
        asked: which figures.
        after: `next_after` of the page before; None: the first page.
        limit: the most that are returned.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: `after` is not from a page.
    """
    place = None if after is None else _place(after)
    with database.transaction() as connection:
        if experiments.find(connection, key) is None:
            raise NotFound(f"There is no experiment {key!r}")
        values = metric_values.page(connection, key, asked, after=place, limit=limit)
    is_full = len(values) == limit
    return SeriesPage(experiment=key, values=values, next_after=_token(Place.of(values[-1])) if is_full else None)


def _token(place: Place) -> str:
    """A place as text that is safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(msgspec.structs.astuple(place))).decode()


def _place(token: str) -> Place:
    try:
        return Place(*msgspec.json.decode(base64.urlsafe_b64decode(token), type=_PLACE))
    except ValueError as error:  # also what msgspec raises
        raise InvalidInput.at("#", f"query parameter after={token!r} must be the `next_after` of a page") from error
