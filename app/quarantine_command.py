"""`croupier quarantine`: what operators do about events that could not be used, at the command line."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app import quarantine
from app.errors import ConfigurationError
from app.options import OpenDatabase
from app.store.quarantine import Filter

__all__ = ["quarantine_group"]

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("quarantine")
def quarantine_group() -> None:
    """Events that could not be used."""


@quarantine_group.command("list")
@click.option("--experiment", help="Only about this one.")
@click.option("--reason", help="Only with this one.")
@click.option("--state", default="open", show_default=True, help="open, replayed or discarded.")
@click.option("--limit", default=100, show_default=True, help="At most; the newest first.")
@click.pass_obj
def quarantine_list(
    open_database: OpenDatabase, *, experiment: str | None, reason: str | None, state: str, limit: int
) -> None:
    """Lists entries, the newest first."""
    wanted = Filter(experiment=experiment, reason=reason, state=state)
    with open_database() as database:
        for entry in quarantine.listed(database, wanted, before=None, limit=limit):
            about = f"{entry['experiment'] or '-'}/{entry['arm'] or '-'}"
            click.echo(f"{entry['id']:>8} {entry['kind']:8} {about} {entry['reason']}: {entry['detail']}")


def _selection(command: Command) -> Command:
    for option in (
        click.argument("ids", nargs=-1, type=int),
        click.option("--experiment", help="Instead of ids: all open ones about this one."),
        click.option("--reason", help="Instead of ids: all open ones with this one."),
    ):
        command = option(command)
    return command


@quarantine_group.command("replay")
@_selection
@click.pass_obj
def quarantine_replay(open_database: OpenDatabase, /, **selection: Any) -> None:  # noqa: ANN401 - click's options
    """Tries entries again, up to 5,000; exit status 1 if some are rejected again."""
    with open_database() as database:
        replayed = quarantine.replay(database, _filter(**selection), actor="cli")
    for result in replayed.results:
        click.echo(f"{result.id:>8} {result.status} {result.reason or ''}".rstrip())
    if any(result.status == "rejected" for result in replayed.results):
        sys.exit(1)


@quarantine_group.command("discard")
@_selection
@click.pass_obj
def quarantine_discard(open_database: OpenDatabase, /, **selection: Any) -> None:  # noqa: ANN401 - click's options
    """Marks entries as of no use, up to 5,000; they can be seen until they are too old."""
    with open_database() as database:
        discarded = quarantine.discard(database, _filter(**selection), actor="cli")
    click.echo(f"discarded {len(discarded.ids)}")


def _filter(*, ids: tuple[int, ...], experiment: str | None, reason: str | None) -> Filter:
    if bool(ids) == bool(experiment or reason):
        raise ConfigurationError("Name either ids, or --experiment or --reason")
    return Filter(ids=ids or None, experiment=experiment, reason=reason)
