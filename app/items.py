"""Items as they are sent: one item's shape, and files of them with an item on each line (NDJSON, CSV)."""

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from app.specification import ItemId

__all__ = ["CSV_COLUMNS", "UNSTORABLE", "ItemRequest", "Line", "Reader", "read_csv", "read_ndjson", "unstorable"]


class ItemRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item of the catalogue."""

    item_id: ItemId
    title: Annotated[str, Meta(max_length=1000)] | None = None
    category: Annotated[str, Meta(max_length=256)] | None = None
    features: Annotated[tuple[Annotated[float, Meta(ge=-1e30, le=1e30)], ...], Meta(max_length=4096)] | None = None
    popularity: Annotated[float, Meta(ge=0, le=1e300)] = 0.0


CSV_COLUMNS = ItemRequest.__struct_fields__


UNSTORABLE = "the character U+0000 cannot be stored"


def unstorable(item: ItemRequest) -> str | None:
    """The field that holds U+0000, which PostgreSQL stores in no text; None when all is well."""
    return next((name for name in ("item_id", "title", "category") if "\0" in (getattr(item, name) or "")), None)


class Line(NamedTuple):
    """A line of a file: its item, or what is wrong with it."""

    number: int  # counted from 1; of a CSV record with line breaks in it, the last one's
    item: ItemRequest | None
    fault: str = ""


Reader: TypeAlias = Callable[[Iterable[bytes]], Iterator[Line]]


def read_ndjson(lines: Iterable[bytes]) -> Iterator[Line]:
    """A JSON object on each line; empty lines are passed over."""
    decode = msgspec.json.Decoder(ItemRequest).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _checked(number, decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Line(number, None, str(error))


def read_csv(lines: Iterable[bytes]) -> Iterator[Line]:
    """Comma-separated, UTF-8, with a header that names columns of `CSV_COLUMNS`, among them `item_id`.

    `features` holds numbers with spaces between them. An empty cell says nothing. After a line that cannot be read as
    CSV the rest is not read.
    """
    rows = csv.reader(_text(lines), strict=True)
    try:
        header = next(rows, [])
        fault = _header_fault(header)
        if fault:
            yield Line(max(rows.line_num, 1), None, fault)
            return
        for row in rows:
            if row:
                yield _from_cells(rows.line_num, header, row)
    except (csv.Error, UnicodeDecodeError) as error:
        yield Line(rows.line_num + isinstance(error, UnicodeDecodeError), None, str(error))


def _text(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line.decode("utf-8" if number else "utf-8-sig")


def _header_fault(header: list[str]) -> str:
    known = ", ".join(CSV_COLUMNS)
    unknown = [name for name in header if name not in CSV_COLUMNS]
    if unknown:
        return f"{unknown[0]!r} is no column; there are {known}"
    if "item_id" not in header:
        return f"the first line must name the columns, among them item_id; there are {known}"
    return f"a column occurs twice in {', '.join(header)}" if len({*header}) < len(header) else ""


def _from_cells(number: int, header: list[str], row: list[str]) -> Line:
    if len(row) != len(header):
        return Line(number, None, f"{len(row)} cells, but the header names {len(header)} columns")
    cells: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=True) if cell != ""}
    if "features" in cells:
        cells["features"] = cells["features"].split()
    try:
        return _checked(number, msgspec.convert(cells, ItemRequest, strict=False))
    except msgspec.ValidationError as error:
        return Line(number, None, str(error))


def _checked(number: int, item: ItemRequest) -> Line:
    return Line(number, None, UNSTORABLE) if unstorable(item) else Line(number, item)
