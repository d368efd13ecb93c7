import json
from collections.abc import Iterable

import pytest

from app.items import ItemRequest, Reader, read_csv, read_ndjson


def read(reader: Reader, text: str | bytes) -> list[tuple[int, ItemRequest | str]]:
    """What stands in each line: the item or the fault."""
    body = text.encode() if isinstance(text, str) else text
    lines: Iterable[bytes] = body.splitlines(keepends=True)
    return [(line.number, line.item or line.fault) for line in reader(lines)]


def test_both_formats_hold_the_same_items() -> None:
    """Columns may be in any order, and what is not said is as in JSON."""
    full = ItemRequest(item_id="7", title='A, "b"\nc', category="x", features=(1.0, -0.5), popularity=2.5)
    bare = ItemRequest(item_id="ü")
    table = 'popularity,features,item_id,category,title\r\n2.5,1 -0.5,7,x,"A, ""b""\nc"\r\n,,ü,,\r\n'
    assert read(read_csv, "\ufeff" + table) == [(3, full), (4, bare)]
    seven = {"item_id": "7", "title": 'A, "b"\nc', "category": "x", "features": [1, -0.5], "popularity": 2.5}
    objects = json.dumps(seven) + '\n\n{"item_id":"ü"}'
    assert read(read_ndjson, objects) == [(1, full), (3, bare)]


@pytest.mark.parametrize(
    ("text", "number", "fault"),
    [
        ('{"item_id":"a"}\n{"item_id":5}', 2, "Expected `str`, got `int` - at `$.item_id`"),
        ('{"item_id":"a"}\n{"item_id":"b","colour":"red"}', 2, "unknown field `colour`"),
        ('{"item_id":"a"}\n{"title":"b"}', 2, "missing required field `item_id`"),
        ('{"item_id":"a"}\nwhat', 2, "malformed"),
        ('{"item_id":"a","popularity":NaN}', 1, "malformed"),
        ('{"item_id":"a","popularity":-1}', 1, ">= 0"),
        ('{"item_id":"a","features":[1e31]}', 1, "<= 1e+30"),
        ('{"item_id":"a\\u0000"}', 1, "U+0000"),
        (b'{"item_id":"\xff"}', 1, "utf-8"),
        ("[" * 100_000, 1, "Expected `object`"),
    ],
)
def test_a_wrong_line_of_json_is_told(text: str | bytes, number: int, fault: str) -> None:
    """By its number and what is wrong."""
    found = dict(read(read_ndjson, text))[number]
    assert isinstance(found, str)
    assert fault in found


@pytest.mark.parametrize(
    ("text", "number", "fault"),
    [
        ("", 1, "must name the columns"),
        ("title\nx", 1, "among them item_id"),
        ("item_id,colour\na,red", 1, "'colour' is no column; there are item_id, title, category, features, popularity"),
        ("item_id,item_id\na,b", 1, "occurs twice"),
        ("item_id,title\na,b\nc", 3, "1 cells, but the header names 2 columns"),
        ("item_id,title\n,b", 2, "missing required field `item_id`"),
        ("item_id,popularity\na,much", 2, "got `str` - at `$.popularity`"),
        ("item_id,popularity\na,nan", 2, ">= 0"),
        ("item_id,popularity\na,inf", 2, "<= 1e+300"),
        ("item_id,features\na,1;2", 2, "at `$.features[0]`"),
        ("item_id,features\na,1 nan", 2, "at `$.features[1]`"),
        ('item_id\n"a', 2, "unexpected end of data"),
        ("item_id\na\0", 2, "U+0000"),
        (b"item_id\na\n\xff", 3, "utf-8"),
    ],
)
def test_a_wrong_line_of_csv_is_told(text: str | bytes, number: int, fault: str) -> None:
    """By its number and what is wrong; the header is a line too."""
    found = dict(read(read_csv, text))[number]
    assert isinstance(found, str)
    assert fault in found


def test_lines_after_a_wrong_one_are_read_too() -> None:
    """So that all that is wrong can be told at once."""
    assert [type(found) for _, found in read(read_csv, "item_id,popularity\na,x\nb,1\nc,y")] == [str, ItemRequest, str]
    assert [type(found) for _, found in read(read_ndjson, '{}\n{"item_id":"b"}\n5')] == [str, ItemRequest, str]
