"""The document as a page for people: made once, by nobody else's code, and asking for nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import groupby
from typing import Any, Final, NamedTuple

import jinja2
from markupsafe import Markup, escape

__all__ = ["Page", "page_of"]

Json = Mapping[str, Any]

_SHAPES: Final = "#/components/schemas/"
_JSON: Final = "application/json"
_DEEPEST: Final = 4  # of an example


class Page(NamedTuple):
    """HTML, and the policy that lets it use its own style and script and nothing else."""

    html: str
    policy: str


def page_of(document: Json) -> Page:
    """The page of an OpenAPI document of ours."""
    folder = files("app.api") / "pages"
    style, script = ((folder / name).read_text() for name in ("docs.css", "docs.js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.Undefined, trim_blocks=True)
    schemas: Json = document["components"]["schemas"]
    html = environment.from_string((folder / "docs.html").read_text()).render(
        info=document["info"],
        groups=[(tag, list(group)) for tag, group in groupby(_operations(document), lambda one: one["tag"])],
        schemas=schemas.items(),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - the same
        kind=_kind,
        shape=_shape,
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(html, policy)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _operations(document: Json) -> list[dict[str, Any]]:
    found = [
        _operation(document, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return sorted(found, key=lambda one: str(one["tag"]))


def _operation(document: Json, path: str, method: str, operation: Json) -> dict[str, Any]:
    scope = next((names[0] for security in operation["security"] for names in security.values()), "open")
    bodies = [(media, one["schema"]) for media, one in operation.get("requestBody", {}).get("content", {}).items()]
    return {
        "id": operation["operationId"],
        "tag": operation["tags"][0].replace("_", " "),
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "scope": scope,
        "parameters": operation["parameters"],
        "bodies": bodies,
        "answers": list(_answers(operation)),
        "curl": _curl(document, path, method, operation),
        "words": f"{operation['operationId']} {scope} {' '.join(p['name'] for p in operation['parameters'])}".lower(),
    }


def _answers(operation: Json) -> Iterator[tuple[str, str, str, Json | None]]:
    for status, answer in operation["responses"].items():
        content: Json = answer.get("content", {})
        media = next(iter(content), "")
        yield status, answer["description"], media, content[media]["schema"] if media else None


def _kind(schema: Json) -> str:
    """A schema in a few words."""
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    words = [str(schema.get("format", schema.get("type", "any")))]
    bounds = [("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")]
    words += [f"{sign} {schema[name]:g}" for name, sign in bounds if name in schema]
    return " ".join(words)


def _shape(schema: Json) -> Markup:
    """A schema with links to the shapes that it names."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SHAPES)
        return Markup('<a href="#shape-{0}"><code>{0}</code></a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(map(_shape, schema["anyOf"]))
    if schema.get("type") == "array":
        return Markup("list of {}").format(_shape(schema.get("items", {}) or {}))
    if isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(_shape(schema["additionalProperties"]))
    return Markup("<code>{}</code>").format(escape(_kind(schema)))


def _curl(document: Json, path: str, method: str, operation: Json) -> str:
    """A call to copy."""
    words = ["curl", "" if method == "get" else f"-X {method.upper()}", f'"$URL{path}"']
    if operation["security"]:
        words.append('-H "Authorization: Bearer $KEY"')
    content = operation.get("requestBody", {}).get("content", {})
    if _JSON in content:
        example = json.dumps(_example(document, content[_JSON]["schema"], 0))
        words += [f"-H 'Content-Type: {_JSON}'", f"-d '{example}'"]
    return " \\\n  ".join((" ".join(word for word in words[:3] if word), *words[3:]))


def _example(document: Json, schema: Json, depth: int) -> Any:  # noqa: ANN401 - JSON
    """The least value of a schema: what is required, and no more."""
    if "$ref" in schema:
        return _example(document, document["components"]["schemas"][schema["$ref"].removeprefix(_SHAPES)], depth)
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0], depth)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object" and depth < _DEEPEST:
        members = schema.get("properties", {})
        return {name: _example(document, members[name], depth + 1) for name in schema.get("required", ())}
    if schema.get("type") == "array":
        return [_example(document, schema.get("items", {}), depth + 1)] if depth < _DEEPEST else []
    return _SIMPLE.get(schema.get("format", schema.get("type", "")))


_SIMPLE: Final[Json] = {
    "string": "home",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "uuid": "01998b5e-0000-7000-8000-000000000000",
    "date-time": "2026-11-24T09:00:00Z",
    "object": {},
}
