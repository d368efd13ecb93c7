"""The catalogue of items, and the decayed counts of their rewards."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from msgspec import Struct

from app.recommenders import CatalogueItem
from app.store.tables import catalogue, items

__all__ = ["ItemRow", "catalogue_version", "decayed_rewards", "delete", "every", "find", "upsert"]


class ItemRow(Struct, frozen=True, kw_only=True):
    """A row of `items`; the fields are its columns."""

    item_id: str
    title: str | None
    category: str | None
    features: tuple[float, ...] | None
    popularity: float


_UPSERT = sa.text("""
INSERT INTO items (item_id, title, category, features, popularity)
SELECT item_id, title, category, features, popularity
FROM json_populate_recordset(NULL::items, CAST(:rows AS json)) ORDER BY item_id
ON CONFLICT (item_id) DO UPDATE SET title = excluded.title, category = excluded.category,
    features = excluded.features, popularity = excluded.popularity, updated_at = now()
""")

# Rows that are read at once: a few milliseconds' work.
_PIECE = 500
# How an array without nulls and of one dimension begins: as two 32-bit numbers, 1 dimension, 0 flags.
_ONE_DIMENSION_NO_NULLS = b"\0\0\0\1\0\0\0\0"

_DECAYED = sa.text("""
SELECT item_id, sum(rewards * 2 ^ (-extract(epoch FROM CAST(:now AS timestamptz) - bucket) / :half_life_s))
FROM item_rewards
WHERE experiment = :experiment AND metric = :metric
    AND bucket > CAST(:now AS timestamptz) - 50 * :half_life_s * interval '1 second'
GROUP BY item_id
""")


def upsert(connection: sa.Connection, rows: Sequence[ItemRow]) -> int:
    """Inserts or replaces items; returns the catalogue's new version. Item ids must not repeat."""
    connection.execute(_UPSERT, {"rows": msgspec.json.encode(rows).decode()})
    return _next_version(connection)


def _next_version(connection: sa.Connection) -> int:
    query = sa.update(catalogue).values(version=catalogue.c.version + 1).returning(catalogue.c.version)
    return int(connection.execute(query).scalar_one())


def catalogue_version(connection: sa.Connection) -> int:
    """Counts the changes of the catalogue."""
    return int(connection.execute(sa.select(catalogue.c.version)).scalar_one())


def delete(connection: sa.Connection, item_id: str) -> int | None:
    """Deletes an item; returns the catalogue's new version, None when there was no such item."""
    deleted = connection.execute(sa.delete(items).where(items.c.item_id == item_id)).rowcount
    return _next_version(connection) if deleted else None


def find(connection: sa.Connection, item_id: str) -> ItemRow | None:
    """One item."""
    columns = [items.c[name] for name in ItemRow.__struct_fields__]
    row = connection.execute(sa.select(*columns).where(items.c.item_id == item_id)).mappings().one_or_none()
    return None if row is None else ItemRow(**row)


def every(connection: sa.Connection) -> list[CatalogueItem]:
    """The whole catalogue; features are rows of arrays, of float32.

    It is read in pieces of milliseconds each, between which a web worker's other requests go on.
    """
    sent = sa.func.array_send(items.c.features, type_=sa.LargeBinary)  # numbers as text take ten times as long to read
    query = sa.select(items.c.item_id, items.c.title, items.c.category, sent, items.c.popularity)
    pieces = connection.execute(query, execution_options={"yield_per": _PIECE}).partitions()
    return [item for piece in pieces for item in _catalogue_items(piece)]


def _catalogue_items(rows: Sequence[Sequence[Any]]) -> Iterator[CatalogueItem]:
    features = _numbers([row[3] for row in rows])
    for (item_id, title, category, _, popularity), vector in zip(rows, features, strict=True):
        yield CatalogueItem(
            item_id=item_id, title=title or "", category=category, features=vector, popularity=popularity
        )


def _numbers(sent: Sequence[bytes | None]) -> list[npt.NDArray[np.float32] | None]:
    """Arrays of `real` as PostgreSQL sends them: 20 bytes that say their shape, then 4 of length before each number.

    All of one length are read as one matrix. An array with nulls in it is shorter than its shape says: it is None.
    """
    found: list[npt.NDArray[np.float32] | None] = [None] * len(sent)
    by_size: dict[int, list[int]] = {}
    for row, array in enumerate(sent):
        if array is not None and array[:8] == _ONE_DIMENSION_NO_NULLS:
            by_size.setdefault(len(array), []).append(row)
    for size, rows in by_size.items():
        words = np.frombuffer(b"".join(sent[row] or b"" for row in rows), ">i4").reshape(len(rows), size // 4)
        matrix = words[:, 6::2].astype(np.int32).view(np.float32)
        for row, vector in zip(rows, matrix, strict=True):
            found[row] = vector
    return found


def decayed_rewards(
    connection: sa.Connection, experiment: str, metric: str, *, half_life_s: float, now: datetime
) -> dict[str, float]:
    """Rewards by item, each halved for every half-life that has passed since; what is older than 50 is left out."""
    parameters = {"experiment": experiment, "metric": metric, "half_life_s": half_life_s, "now": now}
    return dict(connection.execute(_DECAYED, parameters).all())
