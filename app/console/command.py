"""`croupier operators`: who may use the console."""

import sys
from datetime import UTC, datetime

import click

from app import operators
from app.operators import Role
from app.options import OpenDatabase

__all__ = ["operators_group"]

_ACTOR = "cli"


@click.group("operators")
def operators_group() -> None:
    """Who may use the console."""


@operators_group.command()
@click.argument("name")
@click.option(
    "--role",
    default="viewer",
    show_default=True,
    type=click.Choice([str(role) for role in Role]),
    help="What they may do.",
)
@click.pass_obj
def create(open_database: OpenDatabase, name: str, role: str) -> None:
    """Adds the operator NAME; asks for a password, or reads it from a pipe."""
    password = _password()
    with open_database() as database:
        operators.create(database, name, password, Role(role), actor=_ACTOR)
    click.echo(f"{name} may log in as {role}")


@operators_group.command("list")
@click.pass_obj
def list_(open_database: OpenDatabase) -> None:
    """Lists operators."""
    with open_database() as database:
        for record in operators.listed(database):
            state = "disabled" if record.disabled_at else "in force"
            click.echo(f"{record.name:24} {record.role:9} {state:9} since {record.created_at:%Y-%m-%d}")


@operators_group.command()
@click.argument("name")
@click.pass_obj
def disable(open_database: OpenDatabase, name: str) -> None:
    """Shuts the operator NAME out, at once."""
    with open_database() as database:
        operators.disable(database, name, datetime.now(UTC), actor=_ACTOR)


@operators_group.command()
@click.argument("name")
@click.pass_obj
def password(open_database: OpenDatabase, name: str) -> None:
    """Gives the operator NAME another password, and lets a disabled one in again."""
    new = _password()
    with open_database() as database:
        operators.set_password(database, name, new, actor=_ACTOR)


def _password() -> str:
    """Typed twice, or the line that comes through a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
