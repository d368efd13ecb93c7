"""The document against the URL map, the views' scopes, the tables, and the specification of OpenAPI."""

import re
from typing import Any

import msgspec
import pytest
from flask import Flask, Response
from openapi_spec_validator import validate
from sqlalchemy import Table

from app import create_app
from app.api import FAST, answers
from app.api.docs_page import page_of
from app.api.openapi import document
from app.api.schemas import ExperimentView
from app.services import Services
from app.settings import Settings
from app.specification import Specification
from app.store import tables

APP = create_app(Services.build(Settings(), "postgresql://nobody@nowhere/nothing"))
DOCUMENT = document(APP)


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """All operations by method and path."""
    return {(m.upper(), path): one for path, methods in DOCUMENT["paths"].items() for m, one in methods.items()}


def test_it_is_openapi() -> None:
    """The validator of the specification has nothing to say."""
    validate(DOCUMENT)


def test_each_route_is_in_it_and_nothing_else() -> None:
    """Every method of every rule has an operation, and every operation leads to a rule."""
    urls = APP.url_map.bind("")
    described = {(urls.match(_example(path), method)[0], method) for method, path in operations()}
    rules = APP.url_map.iter_rules()
    assert described == {(r.endpoint, method) for r in rules for method in (r.methods or set()) - {"HEAD", "OPTIONS"}}


def test_each_operation_has_the_scope_of_its_view() -> None:
    """As the security requirement; those that are open have none."""
    urls = APP.url_map.bind("")
    for (method, path), operation in operations().items():
        view = APP.view_functions[urls.match(_example(path), method)[0]]
        scope = getattr(view, "scope", "nobody")
        expected = [] if scope is None else [{"bearer": [scope]}, {"header": [scope]}]
        assert operation["security"] == expected, (method, path)
        assert operation["summary"].endswith("."), (method, path)


def test_the_fast_routes_are_in_it() -> None:
    """They are answered without Flask, and described with it."""
    assert {("POST", path) for path in FAST} <= operations().keys()


def test_a_route_that_says_nothing_of_itself_does_not_start() -> None:
    """The fault names the view."""
    app = Flask("test", static_folder=None)

    @app.get("/silent")
    def silent() -> Response:
        return Response()

    with pytest.raises(LookupError, match="silent does not say what it answers"):
        document(app)


def test_it_is_the_same_each_time() -> None:
    """Made anew it is equal, in its order too."""
    assert msgspec.json.encode(document(APP)) == msgspec.json.encode(DOCUMENT)


@pytest.mark.parametrize(
    ("shape", "table", "more", "hidden"),
    [
        (answers.Alert, tables.alerts, {"flips"}, set()),
        (answers.Silence, tables.alert_silences, set(), set()),
        (answers.Channel, tables.alert_channels, set(), {"secret"}),
        (answers.QuarantineEntry, tables.quarantine, set(), {"fingerprint"}),
        (answers.AuditEntry, tables.audit_log, set(), set()),
        (answers.FeedbackRow, tables.feedback, set(), set()),
        (answers.StoredLook, tables.avatar_looks, set(), {"experiment", "avatar"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_rows_that_are_answered_as_they_are_have_the_columns_that_it_says(
    shape: type[msgspec.Struct], table: Table, more: set[str], hidden: set[str]
) -> None:
    """All columns, null where the column may be."""
    fields = {field.name: field.type for field in msgspec.structs.fields(shape)}
    columns = {column.name: column for column in table.c if column.name not in hidden}
    assert fields.keys() == columns.keys() | more
    for name, column in columns.items():
        if fields[name] is not Any:
            assert (type(None) in getattr(fields[name], "__args__", ())) == column.nullable, name


def test_an_experiment_has_the_members_of_its_row_and_of_its_specification() -> None:
    """As the view puts them together."""
    members = answers.Experiment.__struct_fields__
    assert members == (*ExperimentView.__struct_fields__, *Specification.__struct_fields__)


def test_the_page_shows_every_operation_and_shape_and_asks_for_nothing_from_elsewhere() -> None:
    """Each path, scope and shape stands on it; style and script are inside, and allowed by their digests only."""
    page = page_of(DOCUMENT)
    for (_, path), operation in operations().items():
        assert f'id="{operation["operationId"]}"' in page.html
        assert f"<code>{path}</code>" in page.html
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="shape-{name}"' in page.html
    links = re.findall(r'(?:href|src)="([^"]*)"', page.html)
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(re.findall(r'id="([^"]*)"', page.html))
    assert "default-src 'none'" in page.policy
    assert "unsafe" not in page.policy


def _example(path: str) -> str:
    """A path with something in each place."""
    values = {
        "decision_id": "01998b5e-0000-7000-8000-000000000000",
        "alert_id": "1",
        "entry_id": "1",
        "silence_id": "1",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), path)
