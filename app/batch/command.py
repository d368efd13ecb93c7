"""`croupier batch`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.batch.run import KS, BatchOptions, Watch, WorkedOut, batch
from app.batch.windows import DAY_S, WIDTHS_S, Wanted
from app.options import Moment
from app.store.database import Database

__all__ = ["MOST_K", "batch_options", "measure"]

MOST_K: Final = 100

Command = TypeVar("Command", bound=Callable[..., Any])


def measure(database: Database, *, experiments: tuple[str, ...], ks: tuple[int, ...], **wanted: Any) -> None:  # noqa: ANN401 - options
    """What the command does, shown as it goes on."""
    options = BatchOptions(wanted=Wanted(**wanted), ks=tuple(sorted(set(ks))))
    with _watch(Console(stderr=True)) as watch:
        failed = batch(database, options, watch, datetime.now(UTC), keys=experiments)
    if failed:
        click.echo(f"Could not be measured: {', '.join(failed)}", err=True)
        sys.exit(1)


def batch_options(command: Command) -> Command:
    """Adds argument and options to a command."""
    for option in (
        click.option(
            "--k", "ks", default=KS, show_default=True, multiple=True, type=click.IntRange(1, MOST_K),
            help="Cut-off of lists; as often as wanted.",
        ),
        click.option("--again", is_flag=True, help="Also those that are done, as after late feedback."),
        click.option("--until", type=Moment(), help="Only windows that start before."),
        click.option("--since", type=Moment(), help="Only windows that start then or later, as 2026-11-24T00:00:00Z."),
        click.option(
            "--window", "window_s", default=DAY_S, show_default=True, type=click.Choice(WIDTHS_S),
            help="Width, seconds: hours or days of UTC.",
        ),
        click.argument("experiments", nargs=-1),
    ):  # fmt: skip
        command = option(command)
    return command


@contextmanager
def _watch(console: Console) -> Iterator[Watch]:
    """On a terminal a bar; a line for each window that is done in any case."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("windows"),
        TextColumn("{task.fields[decisions]} decisions"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Shown(progress)


class _Shown:
    """Shows how far it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("quality", total=None, decisions="0")
        self._decisions = 0

    def begin(self, windows: int) -> None:
        """How long the bar is."""
        self._progress.update(self._task, total=windows)
        if not windows:
            click.echo("Every window that is over is done")

    def read(self, decisions: int) -> None:
        """How many decisions were read."""
        self._decisions += decisions
        self._progress.update(self._task, decisions=f"{self._decisions:,}")

    def finish(self, done: WorkedOut) -> None:
        """A line, and the bar is longer."""
        click.echo(
            f"{done.experiment} {done.start:%Y-%m-%dT%H:%MZ}: {done.decisions:,} decisions, {done.figures} figures"
        )
        self._progress.advance(self._task)
