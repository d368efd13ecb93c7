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
from app.errors import Fault, InvalidInput, MalformedInput, NotPermitted
from app.services import Services

__all__ = ["actor", "authorise", "decode", "open_to_all", "read", "reply", "requires", "services"]

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Response])

_EXTENSION = "croupier"


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


def actor() -> str:
    """Who makes this request, for the audit log."""
    return str(request.environ["croupier.actor"])


def read(type_: type[T]) -> T:
    """The request's body as a value of `type_`.

    Raises:
        MalformedInput: it is not JSON.
        InvalidInput: it has another shape, or holds what cannot be stored.
    """
    return decode(request.get_data(cache=False), type_)


def decode(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """JSON as a value of `type_`; raises as `read` does."""
    if b"\\u0000" in bytes(body):
        _refuse_null_characters(bytes(body))
    try:
        value: T = _decoder(cast("Hashable", type_)).decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(_fault_of(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _why_malformed(bytes(body), error) from error
    except RecursionError as error:
        raise InvalidInput.at("#", "nested too deeply") from error
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
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", found["path"])
    return Fault("#" + "".join(f"/{name or index}" for name, index in steps), text[: found.start()])


def _why_malformed(body: bytes, error: Exception) -> InvalidInput:
    """NaN and infinities are no JSON either, but their senders deserve to hear where they are."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return MalformedInput.at("#", f"The body is not JSON: {error}")
    faults = [
        Fault(pointer, f"{value} is not a finite number")
        for pointer, value in _leaves(parsed)
        if isinstance(value, float) and not math.isfinite(value)
    ]
    return InvalidInput(*faults) if faults else MalformedInput.at("#", f"The body is not JSON: {error}")


def _refuse_null_characters(body: bytes) -> None:
    """PostgreSQL cannot store U+0000 in a text, so it is refused before anything is written."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return  # decoding says what is wrong
    faults = [
        Fault(pointer, "the character U+0000 cannot be stored")
        for pointer, value in _leaves(parsed)
        if isinstance(value, str) and "\0" in value
    ]
    if faults:
        raise InvalidInput(*faults)


def _leaves(value: Any, pointer: str = "#") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """All keys and leaves of a JSON value, with JSON pointers."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield pointer, key
            yield from _leaves(member, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _leaves(element, f"{pointer}/{index}")
    else:
        yield pointer, value
