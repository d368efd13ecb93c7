"""`/v1/items`: loads the catalogue; reads and deletes single items."""

import io
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from flask import Blueprint, Response, request

from app.api.answers import CatalogueChange, CatalogueDeletion
from app.api.codec import decode_all
from app.api.http import body, json_body, reply, requires, services
from app.api.operations import describes
from app.api.schemas import ItemRequest, ItemsRequest
from app.auth import Scope
from app.errors import Fault, InvalidInput, NotFound
from app.items import UNSTORABLE, Reader, read_csv, read_ndjson, unstorable
from app.store import items as store
from app.store.items import ItemRow

__all__ = ["blueprint"]

blueprint = Blueprint("items", __name__)

_READERS: Mapping[str, Reader] = {
    "application/x-ndjson": read_ndjson,
    "application/jsonl": read_ndjson,
    "text/csv": read_csv,
}
_MOST = 10_000
_MOST_FAULTS = 100


class _Sent(NamedTuple):
    """An item, and where in the request it stands."""

    item: ItemRequest
    pointer: str
    place: str = ""  # for people


@blueprint.put("/v1/items")
@requires(Scope.ADMIN)
@describes(CatalogueChange, takes=ItemsRequest, takes_text=tuple(_READERS))
def put_items() -> Response:
    """Inserts or replaces items; all of them or none."""
    reader = _READERS.get(request.mimetype)
    sent = _from_json() if reader is None else _from_lines(reader)
    _refuse_repeated(sent)
    with services().database.transaction() as connection:
        version = store.upsert(connection, [_row(item) for item, *_ in sent])
    return reply({"items": len(sent), "catalogue_version": version})


@blueprint.get("/v1/items/<path:item_id>")
@requires(Scope.READ)
@describes(ItemRow)
def get_item(item_id: str) -> Response:
    """One item, as the catalogue holds it."""
    with services().database.transaction() as connection:
        row = store.find(connection, item_id)
    if row is None:
        raise NotFound(f"There is no item {item_id!r}")
    return reply(row)


@blueprint.delete("/v1/items/<path:item_id>")
@requires(Scope.ADMIN)
@describes(CatalogueDeletion)
def delete_item(item_id: str) -> Response:
    """Takes one item out of the catalogue; what is recorded about it stays."""
    with services().database.transaction() as connection:
        version = store.delete(connection, item_id)
    if version is None:
        raise NotFound(f"There is no item {item_id!r}")
    return reply({"catalogue_version": version})


def _from_json() -> list[_Sent]:
    items = decode_all(json_body(), ItemsRequest).items
    found = ((index, unstorable(item)) for index, item in enumerate(items))
    _refuse([Fault(f"#/items/{index}/{field}", UNSTORABLE) for index, field in found if field is not None])
    return [_Sent(item, f"#/items/{index}") for index, item in enumerate(items)]


def _from_lines(reader: Reader) -> list[_Sent]:
    lines = list(reader(io.BytesIO(body())))
    faults = [
        Fault(f"#/items/{index}", f"line {line.number}: {line.fault}")
        for index, line in enumerate(lines)
        if line.item is None
    ]
    if len(lines) > _MOST:
        faults.append(Fault("#", f"{len(lines)} items; send at most {_MOST} at once"))
    _refuse(faults)
    return [
        _Sent(line.item, f"#/items/{index}", f"line {line.number}: ")
        for index, line in enumerate(lines)
        if line.item is not None
    ]


def _refuse_repeated(sent: list[_Sent]) -> None:
    counts = Counter(item.item_id for item, *_ in sent)
    _refuse(
        [
            Fault(f"{pointer}/item_id", f"{place}{item.item_id!r} occurs {counts[item.item_id]} times")
            for item, pointer, place in sent
            if counts[item.item_id] > 1
        ]
    )


def _refuse(faults: list[Fault]) -> None:
    """Refuses the request, if there is reason to; a file of another kind has a fault in each line."""
    if faults:
        raise InvalidInput(*faults[:_MOST_FAULTS])


def _row(item: ItemRequest) -> ItemRow:
    features = None if item.features is None else tuple(map(_storable, item.features))
    return ItemRow(**{**msgspec.structs.asdict(item), "features": features})


def _storable(feature: float) -> float:
    """The feature; one too small for PostgreSQL's `real`, which refuses it, is 0 for every purpose."""
    return feature if abs(feature) > 1e-37 else 0.0
