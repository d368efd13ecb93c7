"""What several commands take: kinds of values, and what the command line hands to commands in modules of their own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import click
import msgspec

from app.store.database import Database

__all__ = ["Moment", "OpenDatabase"]

# Gives the database that the settings name, for as long as it is used: `click.pass_obj`.
OpenDatabase = Callable[[], AbstractContextManager[Database]]


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
