"""The OpenAPI 3.1 document: routes from the URL map, shapes from the structs that decode and encode them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from itertools import product
from typing import Any, Final

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from app.api.operations import Operation, Query
from app.api.problems import Problem
from app.auth import Scope
from app.specification import KEY_PATTERN

__all__ = ["document"]

Json = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{name}"
_IMPLIED: Final = {"HEAD", "OPTIONS"}
_JSON, _PROBLEM, _MERGE_PATCH = "application/json", "application/problem+json", "application/merge-patch+json"
# `<any(start, stop):action>` or `<uuid:decision_id>` or `<key>`
_VARIABLE: Final = re.compile(r"<(?:(?P<converter>\w+)(?:\((?P<words>[^)]*)\))?:)?(?P<name>\w+)>")
_KINDS: Final[Mapping[str, Json]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0},
    "path": {"type": "string", "minLength": 1, "maxLength": 256},
    "default": {"type": "string", "pattern": KEY_PATTERN},
}
_ABOUT: Final = (
    "Deals recommender variants, learns from feedback, and shows how they do. Errors are problems (RFC 9457). "
    "Keys have scopes, which stand at each operation; admin does not include the others."
)


def document(app: Flask) -> Json:
    """The document of an app's routes; the same for the same code.

    Raises:
        LookupError: a view does not say what it takes and answers, or two have the same name.
    """
    paths: dict[str, Json] = {}
    shapes = _Shapes(app)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        for path, words in _paths_of(rule):
            for method in sorted((rule.methods or set()) - _IMPLIED):
                paths.setdefault(path, {})[method.lower()] = _operation(app, rule, shapes, words)
    _refuse_repeated_names(paths)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Croupier", "version": version("croupier"), "description": _ABOUT},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


class _Shapes:
    """The JSON schemas of all shapes that an app's views name."""

    def __init__(self, app: Flask) -> None:
        named = [shape for view in app.view_functions.values() for shape in _named_by(_declared(view))]
        self._shapes: list[Any] = [*named, Problem]
        found, self.components = msgspec.json.schema_components(self._shapes, ref_template=_REFERENCE)
        self._schemas = [_portable(schema) for schema in found]
        self.components = {name: _portable(schema) for name, schema in sorted(self.components.items())}

    def of(self, shape: Any) -> Json:  # noqa: ANN401 - unions are no `type`
        """The schema of one."""
        found: Json = self._schemas[next(i for i, known in enumerate(self._shapes) if known is shape)]
        return found

    def any_of(self, shapes: Sequence[Any]) -> Json:
        """The schema of what has one of these."""
        schemas = [self.of(shape) for shape in shapes]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _portable(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Patterns as every dialect reads them: elsewhere `$` means the end without saying so."""
    if isinstance(schema, dict):
        return {name: _portable(value) for name, value in schema.items()}
    if isinstance(schema, list | tuple):
        return [_portable(value) for value in schema]
    return schema.replace(r"$(?!\n)", "$") if isinstance(schema, str) else schema


def _declared(view: Any) -> Operation:  # noqa: ANN401 - an attribute of a function
    operation: Operation | None = getattr(view, "operation", None)
    if operation is None:
        raise LookupError(f"{view.__module__}.{view.__name__} does not say what it answers; @describes does")
    return operation


def _named_by(operation: Operation) -> Iterator[Any]:
    yield from operation.takes
    yield from (shape for answer in operation.answers.values() for shape in _each(answer))
    yield from (query.shape for query in operation.query)


def _each(shapes: Any) -> tuple[Any, ...]:  # noqa: ANN401 - unions are no `type`
    if shapes is None:
        return ()
    return shapes if isinstance(shapes, tuple) else (shapes,)


def _paths_of(rule: Rule) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The paths of a rule, and the words chosen for each: one for every combination of its words."""
    found = [match for match in _VARIABLE.finditer(rule.rule) if match["words"]]
    template = _VARIABLE.sub(lambda m: m[0] if m["words"] else f"{{{m['name']}}}", rule.rule)
    for words in product(*([word.strip() for word in match["words"].split(",")] for match in found)):
        path = template
        for match, word in zip(found, words, strict=True):
            path = path.replace(match[0], word)
        yield path, words


def _operation(app: Flask, rule: Rule, shapes: _Shapes, words: tuple[str, ...]) -> Json:
    view: Any = app.view_functions[rule.endpoint]
    operation, scope = _declared(view), getattr(view, "scope", None)
    described: Json = {
        "operationId": "_".join((view.__name__, *words)),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": (view.__doc__ or "").partition("\n")[0],
        "parameters": [*_path_parameters(rule), *(_query(query, shapes) for query in operation.query)],
        "responses": _responses(operation, shapes, scope, named=bool(_VARIABLE.search(rule.rule))),
        "security": [{"bearer": [scope.value]}, {"header": [scope.value]}] if isinstance(scope, Scope) else [],
    }
    if operation.guarded:
        described["parameters"].append(_IF_MATCH)
    if operation.takes:
        described["requestBody"] = {"required": True, "content": _content(operation, shapes)}
    return described


_IF_MATCH: Final[Json] = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[0-9]{1,9}")$'},
    "description": "Only if the experiment still has this `ETag`",
}


def _path_parameters(rule: Rule) -> Iterator[Json]:
    for match in _VARIABLE.finditer(rule.rule):
        if not match["words"]:
            schema = _portable(_KINDS[match["converter"] or "default"])
            yield {"name": match["name"], "in": "path", "required": True, "schema": schema}


def _query(query: Query, shapes: _Shapes) -> Json:
    schema = shapes.of(query.shape)
    if query.default is not None:
        schema = {**schema, "default": query.default}
    found: Json = {"name": query.name, "in": "query", "schema": schema, "description": query.meaning}
    return {**found, "style": "form", "explode": False} if schema.get("type") == "array" else found


def _content(operation: Operation, shapes: _Shapes) -> Json:
    schema = shapes.any_of(operation.takes)
    media = [_JSON, _MERGE_PATCH] if operation.takes_merge_patch else [_JSON]
    return {kind: {"schema": schema} for kind in media} | {
        kind: {"schema": {"type": "string"}} for kind in operation.takes_text
    }


def _responses(operation: Operation, shapes: _Shapes, scope: Scope | None, *, named: bool) -> Json:
    statuses = set(operation.refusals) | {422}
    if scope is not None:
        statuses |= {401, 403, 503}
    if operation.takes:
        statuses |= {400, 413, 415}
    if named:
        statuses.add(404)
    if operation.guarded:
        statuses.add(412)
    problem = {"content": {_PROBLEM: {"schema": shapes.of(Problem)}}}
    responses = {status: {"description": HTTPStatus(status).phrase, **problem} for status in statuses}
    responses |= {status: _answer(operation, status, shapes) for status in operation.answers}
    return {str(status): responses[status] for status in sorted(responses)}


def _answer(operation: Operation, status: int, shapes: _Shapes) -> Json:
    answers, found = _each(operation.answers[status]), {"description": HTTPStatus(status).phrase}
    if operation.answers_text is not None and status == 200:
        return {**found, "content": {operation.answers_text: {"schema": {"type": "string"}}}}
    return {**found, "content": {_JSON: {"schema": shapes.any_of(answers)}}} if answers else found


def _refuse_repeated_names(paths: Mapping[str, Json]) -> None:
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise LookupError(f"views with the same name: {', '.join(sorted(repeated))}")
