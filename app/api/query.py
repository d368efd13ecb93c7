"""Reads what stands in URLs: query parameters and keys."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar, cast

import msgspec
from flask import request

from app.api.moments import in_utc
from app.errors import InvalidInput
from app.specification import KEY_PATTERN, UnitId

__all__ = ["LARGEST_ID", "checked_key", "checked_unit", "moment", "number", "whole", "words"]

Word = TypeVar("Word", bound=str)

LARGEST_ID = 2**63 - 1  # of a row


def number(name: str, default: float, *, low: float, high: float) -> float:
    """A number within limits.

    Raises:
        InvalidInput: it is none.
    """
    text = request.args.get(name)
    if text is None:
        return float(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InvalidInput.at("#", f"query parameter {name}={text!r} must be a number within {low} and {high}")
    return value


def whole(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within limits; raises as `number` does."""
    value = number(name, default, low=low, high=high)
    if not value.is_integer():
        raise InvalidInput.at("#", f"query parameter {name}={value:g} must be a whole number")
    return int(value)


def moment(name: str) -> datetime | None:
    """A moment in RFC 3339 form, as 2026-11-24T09:00:00Z.

    Raises:
        InvalidInput: it is none.
    """
    text = request.args.get(name)
    if text is None:
        return None
    try:
        value = msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#", f"query parameter {name}={text!r} must be like 2026-11-24T09:00:00Z") from error
    if value.tzinfo is None:
        raise InvalidInput.at("#", f"query parameter {name}={text!r} needs a time zone, as Z")
    return in_utc(value)


def words(name: str, known: Sequence[Word] | None = None) -> list[Word] | None:
    """Words, separated by commas; None: the parameter is not there.

    Raises:
        InvalidInput: one of them is not among the known ones, if these are given.
    """
    text = request.args.get(name)
    if text is None:
        return None
    found = text.split(",")
    if known is not None and not set(found) <= set(known):
        raise InvalidInput.at("#", f"query parameter {name}={text!r} must name some of {', '.join(known)}")
    return cast("list[Word]", found)


def checked_key(key: str) -> str:
    """A key from the path.

    Raises:
        InvalidInput: it is none.
    """
    if not re.search(KEY_PATTERN, key):
        raise InvalidInput.at("#", f"the key {key!r} must be 1 to 64 of A-Z a-z 0-9 . _ : -")
    return key


def checked_unit(unit: str) -> str:
    """A unit from the path.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return msgspec.convert(unit, UnitId)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#", f"the unit in the path is none: {error}") from error
