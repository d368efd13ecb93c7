"""`croupier alerts`: what operators do about alerts, at the command line."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from app import alerts
from app.errors import ConfigurationError
from app.options import OpenDatabase

__all__ = ["alerts_group"]

_ACTOR = "cli"
_STATES = click.Choice(["inactive", "pending", "firing", "resolved"])


@click.group("alerts")
def alerts_group() -> None:
    """What is wrong now, and who takes care of it."""


@alerts_group.command("list")
@click.option("--experiment", help="Only of this one.")
@click.option("--state", "states", multiple=True, type=_STATES, help="Default: pending and firing.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="At most.")
@click.pass_obj
def list_command(open_database: OpenDatabase, *, experiment: str | None, states: tuple[str, ...], limit: int) -> None:
    """Lists alerts, the newest first."""
    wanted = states or ("pending", "firing")
    with open_database() as database:
        for row in alerts.listed(database, experiment=experiment, states=wanted, before=None, limit=limit):
            click.echo(_line(row))


@alerts_group.command("acknowledge")
@click.argument("ids", nargs=-1, required=True, type=click.IntRange(1, 2**53))
@click.pass_obj
def acknowledge_command(open_database: OpenDatabase, ids: tuple[int, ...]) -> None:
    """Says that somebody takes care of alerts; the first that is neither pending nor firing ends it."""
    with open_database() as database:
        for alert_id in ids:
            click.echo(_line(alerts.acknowledge(database, alert_id, datetime.now(UTC), actor=_ACTOR)))


@alerts_group.command("silence")
@click.argument("labels", nargs=-1, required=True)
@click.option(
    "--hours", default=1.0, show_default=True, type=click.FloatRange(0, 8784, min_open=True), help="How long."
)
@click.option("--comment", default="", help="Why.")
@click.pass_obj
def silence_command(open_database: OpenDatabase, *, labels: tuple[str, ...], hours: float, comment: str) -> None:
    """Keeps alerts with all of LABELS, each NAME=VALUE as alertname=fallbacks, from being told."""
    now = datetime.now(UTC)
    with open_database() as database:
        made = alerts.silence(
            database,
            dict(_label(text) for text in labels),
            period=(now, now + timedelta(hours=hours)),
            comment=comment,
            actor=_ACTOR,
        )
    click.echo(f"silence {made['id']} lasts until {made['ends_at']:%Y-%m-%d %H:%M:%S %Z}")


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ConfigurationError(f"{text!r} is no label: NAME=VALUE is wanted, as alertname=fallbacks")
    return name, value


def _line(row: dict[str, Any]) -> str:
    """An alert in one line."""
    labels = ",".join(f"{name}={value}" for name, value in sorted(row["labels"].items()) if name != "alertname")
    carer = f" acknowledged by {row['acknowledged_by']}" if row["acknowledged_by"] else ""
    since = f"{row['since']:%Y-%m-%d %H:%M:%S}"
    return f"{row['id']:>8} {row['state']:8} {row['severity']:6} {since} {row['rule']} {labels}: {row['reason']}{carer}"
