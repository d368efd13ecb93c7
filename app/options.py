"""Kinds of values that options of several commands take."""

from datetime import datetime
from typing import Any

import click
import msgspec

__all__ = ["Moment"]


class Moment(click.ParamType[datetime]):
    """A moment in RFC 3339 form."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401
        """As `click.ParamType.convert`."""
        try:
            found = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            self.fail(f"{value!r} must be like 2026-11-24T09:00:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} needs a time zone, as Z", param, ctx)
        return found
