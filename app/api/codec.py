"""JSON in and out: shapes are checked, and what is wrong is said with a pointer to where."""

import json
import math
import re
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from app.api.choices import choices
from app.errors import Fault, InvalidInput, MalformedInput

__all__ = ["decode", "decode_all", "decode_parts", "decode_shape", "encode"]

T = TypeVar("T")

encode = msgspec.json.Encoder().encode

# How deep JSON may be nested: far below what decoding it again, in deeper calls, could fail on.
_DEEPEST = 100
_TOO_DEEP = f"nested more than {_DEEPEST} levels deep"


def decode(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """JSON as a value of `type_`.

    Raises:
        MalformedInput: it is not JSON.
        InvalidInput: it has another shape, or holds what cannot be stored.
    """
    _refuse_what_cannot_be_stored(bytes(body))
    return decode_all(body, type_)


def decode_all(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """The same, of which what cannot be stored is looked for elsewhere."""
    _refuse_repeated_members(bytes(body))
    return decode_shape(body, type_)


def decode_parts(body: bytes, type_: type[T], name: str) -> T:
    """The same, for JSON whose member `name` is a list of `Raw` that will be decoded one by one.

    A bad part is no fault of the whole. To look for members that occur twice would take as long as all the parts do,
    so that is done only where the list's name does.
    """
    if body.count(f'"{name}"'.encode()) > 1:
        _refuse_repeated_members(body)
    return decode_shape(body, type_)


def decode_shape(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """The same, without looking at anything but the shape."""
    try:
        value: T = _decoder(cast("Hashable", type_)).decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(*(_infinities(bytes(body)) or (_fault_of(error, type_),))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _why_malformed(bytes(body), error) from error
    except RecursionError as error:
        raise InvalidInput.at("#", _TOO_DEEP) from error
    return value


@cache
def _decoder(type_: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


_PLACE = re.compile(r" - at (`key` in )?`\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def _fault_of(error: msgspec.ValidationError, type_: object) -> Fault:
    """Msgspec says "Expected `int` - at `$.arms[0].k`"; a problem says that as pointer and detail."""
    text = str(error)
    found = _PLACE.search(text)
    # It writes `...` for the name of a member of a mapping: then the pointer is the mapping's.
    path = found["path"].partition("[...]")[0] if found else ""
    steps = [name or index for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path)]
    detail = text[: found.start()] if found else text
    return Fault("#" + "".join(f"/{step}" for step in steps), detail + _hint(detail, steps, type_))


def _hint(detail: str, steps: list[str], type_: object) -> str:
    """What could have been said, for a word that is unknown or missing."""
    missing = _MISSING.fullmatch(detail)
    if not missing and not detail.startswith(("Invalid value", "Invalid enum value")):
        return ""
    words = choices(type_, [*steps, missing["name"]] if missing else steps)
    return f"; choose one of {', '.join(words)}" if words else ""


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


def _refuse_repeated_members(body: bytes) -> None:
    """Of a member that occurs twice in one object the last would count, which not everybody who reads it would do."""
    try:
        _DISTINCT.decode(body.decode())
    except (ValueError, RecursionError):  # no JSON, or too deep: decoding says what is wrong
        return


def _distinct(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput.at("#", f"the member {twice!r} occurs twice in one object")


# Numbers are not looked at, so they need not be read.
_DISTINCT = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=len, parse_float=len)


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
