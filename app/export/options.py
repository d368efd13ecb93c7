"""The options of `croupier export`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from app.export.log_file import FORMATS
from app.options import Moment

__all__ = ["export_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def export_options(command: Command) -> Command:
    """Adds argument and options to a command."""
    for option in (
        click.option("--until", type=Moment(), help="Only decisions made before."),
        click.option("--since", type=Moment(), help="Only decisions made then or later, as 2026-11-24T09:00:00Z."),
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
