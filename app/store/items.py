"""The catalogue of items, and the decayed counts of their rewards."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from app.recommenders import CatalogueItem
from app.store.tables import catalogue, items

__all__ = ["ItemRow", "catalogue_version", "decayed_rewards", "every", "upsert"]


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
    query = sa.update(catalogue).values(version=catalogue.c.version + 1).returning(catalogue.c.version)
    return int(connection.execute(query).scalar_one())


def catalogue_version(connection: sa.Connection) -> int:
    """Counts the changes of the catalogue."""
    return int(connection.execute(sa.select(catalogue.c.version)).scalar_one())


def every(connection: sa.Connection) -> list[CatalogueItem]:
    """The whole catalogue."""
    columns = (items.c.item_id, items.c.title, items.c.category, items.c.features, items.c.popularity)
    return [
        CatalogueItem(item_id=item_id, title=title or "", category=category, features=features, popularity=popularity)
        for item_id, title, category, features, popularity in connection.execute(sa.select(*columns))
    ]


def decayed_rewards(
    connection: sa.Connection, experiment: str, metric: str, *, half_life_s: float, now: datetime
) -> dict[str, float]:
    """Rewards by item, each halved for every half-life that has passed since; what is older than 50 is left out."""
    parameters = {"experiment": experiment, "metric": metric, "half_life_s": half_life_s, "now": now}
    return dict(connection.execute(_DECAYED, parameters).all())
