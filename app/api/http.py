"""How views read requests and write answers."""

import json
import math
import re
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from flask import Response, current_app, request

from app.auth import Scope
from app.errors import Fault, InputTooLarge, InvalidInput, MalformedInput, NotFound, NotPermitted
from app.services import Services

__all__ = [
    "actor",
    "authorise",
    "body",
    "decode",
    "decode_shape",
    "open_to_all",
    "read",
    "refuse_null_characters",
    "reply",
    "requires",
    "services",
]

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Response])

_EXTENSION = "croupier"
# How deep JSON may be nested: far below what decoding it again, in deeper calls, could fail on.
_DEEPEST = 100
_TOO_DEEP = f"nested more than {_DEEPEST} levels deep"


def services() -> Services:
    """The parts of this web worker."""
    found: Services = current_app.extensions[_EXTENSION]
    return found


def requires(scope: Scope) -> Callable[[View], View]:
    """Marks a view as one for keys with this scope."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return mark


def open_to_all(view: View) -> View:
    """Marks a view as one that needs no key."""
    view.scope = None  # type: ignore[attr-defined]
    return view


def authorise() -> None:
    """Runs before each view: closed by default, so a view that was not marked lets nobody in."""
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:
        return  # no such path: Flask answers 404
    scope = getattr(view, "scope", "nobody")
    if scope is None:
        return
    if not isinstance(scope, Scope):
        raise NotPermitted("This route is closed")
    request.environ["croupier.actor"] = services().keys.authorise(_key(), scope)


def refuse_null_characters() -> None:
    """Runs before each view: PostgreSQL stores no U+0000 in a text, so nothing has such a name."""
    if "\0" in request.path:
        raise NotFound("Nothing has a name with the character U+0000")
    for name, value in request.args.items(multi=True):
        if "\0" in name + value:
            raise InvalidInput.at("#", f"query parameter {name!r} holds the character U+0000")


def actor() -> str:
    """Who makes this request, for the audit log."""
    return str(request.environ["croupier.actor"])


def read(type_: type[T]) -> T:
    """The request's body as a value of `type_`.

    Raises:
        MalformedInput: it is not JSON.
        InvalidInput: it has another shape, or holds what cannot be stored.
        InputTooLarge: it is over the limit.
    """
    return decode(body(), type_)


def body() -> bytes:
    """The request's body.

    Raises:
        InputTooLarge: it is over the limit.
    """
    data = request.get_data(cache=False)
    # Werkzeug refuses a length over the limit, but cuts a body without a length (chunked) there and says nothing.
    if len(data) == request.max_content_length and request.environ["wsgi.input"].read(1):
        raise InputTooLarge("The body is larger than 1 MiB; send it in parts")
    return data


def decode(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """JSON as a value of `type_`; raises as `read` does."""
    _refuse_what_cannot_be_stored(bytes(body))
    return decode_shape(body, type_)


def decode_shape(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """The same, for JSON whose parts are `Raw` and will be decoded one by one: a bad part is no fault of the whole."""
    try:
        value: T = _decoder(cast("Hashable", type_)).decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(*(_infinities(bytes(body)) or (_fault_of(error),))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _why_malformed(bytes(body), error) from error
    except RecursionError as error:
        raise InvalidInput.at("#", _TOO_DEEP) from error
    return value


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - JSON
    """An answer with a JSON body."""
    return Response(msgspec.json.encode(value), status, headers, content_type="application/json")


@cache
def _decoder(type_: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def _key() -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key")


_PLACE = re.compile(r" - at (`key` in )?`\$(?P<path>[^`]*)`$")


def _fault_of(error: msgspec.ValidationError) -> Fault:
    """Msgspec says "Expected `int` - at `$.arms[0].k`"; a problem says that as pointer and detail."""
    text = str(error)
    found = _PLACE.search(text)
    if found is None:
        return Fault("#", text)
    # It writes `...` for the name of a member of a mapping: then the pointer is the mapping's.
    path = found["path"].partition("[...]")[0]
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path)
    return Fault("#" + "".join(f"/{name or index}" for name, index in steps), text[: found.start()])


def _why_malformed(body: bytes, error: Exception) -> InvalidInput:
    """NaN and infinities are no JSON either, but their senders deserve to hear where they are."""
    faults = _infinities(body)
    return InvalidInput(*faults) if faults else MalformedInput.at("#", f"The body is not JSON: {error}")


def _infinities(body: bytes) -> list[Fault]:
    """Numbers that are not finite, and those too large for one."""
    try:
        return [
            Fault(pointer, f"{value} is not a finite number")
            for pointer, value in _leaves(json.loads(body))
            if isinstance(value, float) and not math.isfinite(value)
        ]
    except (ValueError, RecursionError):
        return []


def _refuse_what_cannot_be_stored(body: bytes) -> None:
    """PostgreSQL stores no U+0000 in a text, and what is nested without end cannot be read back.

    Only a body that may hold such a thing is looked through.
    """
    if b"\\u0000" not in body and body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return
    try:
        leaves = list(_leaves(json.loads(body)))
    except RecursionError as error:
        raise InvalidInput.at("#", _TOO_DEEP) from error
    except ValueError:
        return  # no JSON: decoding says what is wrong
    faults = [
        Fault(pointer, "the character U+0000 cannot be stored")
        for pointer, value in leaves
        if isinstance(value, str) and "\0" in value
    ]
    if faults:
        raise InvalidInput(*faults)


def _leaves(value: Any, pointer: str = "#", depth: int = 0) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """All keys and leaves of a JSON value, with JSON pointers.

    Raises:
        RecursionError: it is nested more than `_DEEPEST` deep.
    """
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        for key, member in value.items():
            yield pointer, key
            yield from _leaves(member, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _leaves(element, f"{pointer}/{index}", depth + 1)
    else:
        yield pointer, value
