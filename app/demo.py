"""The demonstration: a service, and real users who come to it until Ctrl-C."""

import os
import secrets
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from app import operators
from app.auth import new_key
from app.operators import Role
from app.replay import ReplayOptions, replay_msweb
from app.settings import Settings
from app.store.database import Database

__all__ = ["add_operator", "visit", "with_key"]

_KEY_FILE = "demo-key"
_LOG_IN_FILE = "demo-log-in"
_OPERATOR = "demo"


def with_key(settings: Settings) -> Settings:
    """The settings with an API key, the same at every start: kept in the data directory, for its owner only."""
    if settings.bootstrap_key:
        return settings
    return replace(settings, bootstrap_key=_kept(settings, _KEY_FILE, new_key), log_level="warning")


def add_operator(settings: Settings, database: Database) -> None:
    """Makes sure that somebody can log in to the console, with the same password at every start."""
    operators.ensure(database, _OPERATOR, _password(settings), Role.OPERATOR)


def visit(settings: Settings, rate: float) -> None:
    """Says where the service is, then sends users until Ctrl-C."""
    url = f"http://{settings.host}:{settings.port}"
    console = Console()
    console.print(
        f"\n[bold]Croupier[/bold] on {url}\nAPI key   {settings.bootstrap_key}\n"
        f"Console   {url}/console   log in as {_OPERATOR} with {_password(settings)}\n\n"
        f"Which arm wins:  curl -H 'Authorization: Bearer {settings.bootstrap_key}' {url}/v1/experiments/msweb/arms\n"
        "Now real users come: visitors of www.microsoft.com in February 1998. Ctrl-C ends it.\n",
        highlight=False,
        soft_wrap=True,
    )
    options = ReplayOptions(url=url, key=settings.bootstrap_key or "", rate=rate, decisions=None)
    replay_msweb(options, console)


def _password(settings: Settings) -> str:
    return _kept(settings, _LOG_IN_FILE, lambda: secrets.token_urlsafe(9))


def _kept(settings: Settings, name: str, make: Callable[[], str]) -> str:
    """A secret in the data directory, for its owner only; made when it is not there yet."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / name
    if not path.exists():
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(make())
    return path.read_text()
