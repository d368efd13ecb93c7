"""`croupier keys`."""

import re
from datetime import UTC, datetime, timedelta
from typing import TextIO

import click
import msgspec

from app import keys
from app.auth import ALL_SCOPES, Scope
from app.keys.changes import Wanted
from app.options import OpenDatabase
from app.store.keys import KeyRecord

__all__ = ["keys_command"]


_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


class _Words(click.ParamType[tuple[str, ...]]):
    """Words, comma-separated."""

    name = "words"

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        self._known = known

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        unknown = [word for word in words if self._known and word not in self._known]
        if unknown or not words:
            self.fail(f"{value!r} must name some of {', '.join(self._known) or 'a, b, ...'}", param, ctx)
        return words


class _Duration(click.ParamType[timedelta]):
    """A number and its unit, as `90d`, `12h`, `30m` or `45s`."""

    name = "duration"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,5})([dhms])", value)
        if found is None:
            self.fail(f"{value!r} must be a number and its unit, as 90d, 12h, 30m or 45s", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


class _End(click.ParamType[datetime]):
    """A moment, as 2027-01-31T09:00:00Z, or a duration from now."""

    name = "end"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            return datetime.now(UTC) + _Duration().convert(value, param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group("keys")
def keys_command() -> None:
    """API keys."""


_scopes = click.option(
    "--scopes",
    "--scope",
    multiple=True,
    type=_Words(tuple(map(str, ALL_SCOPES))),
    callback=lambda _context, _parameter, given: (
        tuple(dict.fromkeys(Scope(word) for words in given for word in words)) or ALL_SCOPES
    ),
    help="Some of decide, reward, read, admin, comma-separated. Default: every one.",
)


@keys_command.command("create")
@click.option("--name", required=True, help="Who or what the key is for.")
@_scopes
@click.option("--expires", "expires_at", type=_End(), help="A moment, as 2027-01-31T09:00:00Z, or as 90d, 12h.")
@click.option("--experiments", multiple=True, type=_Words(), help="The only ones that it is for, comma-separated.")
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, 1e6, min_open=True), help="Requests a second, at most.")
@click.pass_obj
def create(
    open_database: OpenDatabase,
    name: str,
    *,
    scopes: tuple[Scope, ...],
    expires_at: datetime | None,
    experiments: tuple[tuple[str, ...], ...],
    rate_per_s: float | None,
) -> None:
    """Makes a key and prints it, this once."""
    wanted = Wanted(
        name=name,
        scopes=scopes,
        experiments=tuple(sorted({word for words in experiments for word in words})) or None,
        rate_per_s=rate_per_s,
        expires_at=expires_at,
    )
    with open_database() as database:
        key, _ = keys.create(database, wanted, datetime.now(UTC), actor="cli")
    click.echo(key)


@keys_command.command("ensure")
@click.argument("key", required=False)
@click.option("--file", type=click.File(), help="Where KEY is, instead: other users see arguments.")
@click.option("--name", default="bootstrap", show_default=True, help="Who or what the key is for.")
@_scopes
@click.pass_obj
def ensure(
    open_database: OpenDatabase, key: str | None, *, file: TextIO | None, name: str, scopes: tuple[Scope, ...]
) -> None:
    """Makes sure that a key of your choice exists; one that is there stays as it is."""
    key = file.read().strip() if file else key
    if not key:
        raise click.UsageError("Name a KEY, or a --file that holds one")
    with open_database() as database:
        keys.ensure_key(database, key, Wanted(name=name, scopes=scopes), actor="cli")


@keys_command.command("list")
@click.pass_obj
def list_keys(open_database: OpenDatabase) -> None:
    """Lists keys by their prefixes."""
    with open_database() as database:
        for record in keys.listed(database):
            click.echo(_line(record, datetime.now(UTC)))


@keys_command.command("revoke")
@click.argument("prefix")
@click.pass_obj
def revoke(open_database: OpenDatabase, prefix: str) -> None:
    """Revokes a key; workers refuse it within seconds."""
    with open_database() as database:
        keys.revoke(database, prefix, actor="cli")


@keys_command.command("rotate")
@click.argument("prefix")
@click.option("--overlap", type=_Duration(), default="1h", show_default=True, help="How long the old secret works on.")
@click.pass_obj
def rotate(open_database: OpenDatabase, prefix: str, overlap: timedelta) -> None:
    """Gives a key another secret, and prints the key, this once."""
    with open_database() as database:
        key, _ = keys.rotate(database, prefix, datetime.now(UTC), overlap=overlap, actor="cli")
    click.echo(key)


def _line(record: KeyRecord, now: datetime) -> str:
    is_over = record.expires_at is not None and record.expires_at <= now
    state = "revoked" if record.revoked_at else "expired" if is_over else "in force"
    notes = [
        record.experiments and f"for {','.join(record.experiments)}",
        record.rate_per_s and f"{record.rate_per_s:g}/s",
        record.expires_at and f"until {record.expires_at:%Y-%m-%d %H:%M}",
        f"used {record.last_used_at:%Y-%m-%d %H:%M}" if record.last_used_at else "never used",
    ]
    told = "; ".join(note for note in notes if note)
    return f"{record.prefix:14} {state:9} {','.join(sorted(record.scopes)):28} {record.name} ({told})"
