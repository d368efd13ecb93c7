"""`PUT /v1/items`: loads the catalogue."""

from collections import Counter

from flask import Blueprint, Response

from app.api.http import read, reply, requires, services
from app.api.schemas import ItemRequest, ItemsRequest
from app.auth import Scope
from app.errors import Fault, InvalidInput
from app.store import items as store
from app.store.items import ItemRow

__all__ = ["blueprint"]

blueprint = Blueprint("items", __name__)


@blueprint.put("/v1/items")
@requires(Scope.ADMIN)
def put_items() -> Response:
    """Inserts or replaces items; all of them or none."""
    items = read(ItemsRequest).items
    _refuse_repeated(items)
    rows = [
        ItemRow(
            item_id=item.item_id,
            title=item.title,
            category=item.category,
            features=None if item.features is None else tuple(map(_storable, item.features)),
            popularity=item.popularity,
        )
        for item in items
    ]
    with services().database.transaction() as connection:
        version = store.upsert(connection, rows)
    return reply({"items": len(rows), "catalogue_version": version})


def _storable(feature: float) -> float:
    """The feature; one too small for PostgreSQL's `real`, which refuses it, is 0 for every purpose."""
    return feature if abs(feature) > 1e-37 else 0.0


def _refuse_repeated(items: list[ItemRequest]) -> None:
    counts = Counter(item.item_id for item in items)
    faults = [
        Fault(f"#/items/{index}/item_id", f"{item.item_id!r} occurs {counts[item.item_id]} times")
        for index, item in enumerate(items)
        if counts[item.item_id] > 1
    ]
    if faults:
        raise InvalidInput(*faults)
