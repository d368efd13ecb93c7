"""The options of `croupier export`."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from app.export.log_file import FORMATS

__all__ = ["export_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Moment(click.ParamType[datetime]):
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


def export_options(command: Command) -> Command:
    """Adds argument and options to a command."""
    for option in (
        click.option("--until", type=_Moment(), help="Only decisions made before."),
        click.option("--since", type=_Moment(), help="Only decisions made then or later, as 2026-11-24T09:00:00Z."),
        click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file."),
        click.option(
            "--format",
            "form",
            required=True,
            type=click.Choice(FORMATS),
            help="parquet: all decisions. obp: CSV of those that count, for off-policy evaluation.",
        ),
        click.argument("experiment"),
    ):
        command = option(command)
    return command
