"""The demonstration: a service, and real users who come to it until Ctrl-C."""

import os
from dataclasses import replace

from rich.console import Console

from app.auth import new_key
from app.replay import ReplayOptions, replay_msweb
from app.settings import Settings

__all__ = ["visit", "with_key"]

_KEY_FILE = "demo-key"


def with_key(settings: Settings) -> Settings:
    """The settings with an API key, the same at every start: kept in the data directory, for its owner only."""
    if settings.bootstrap_key:
        return settings
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / _KEY_FILE
    if not path.exists():
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key())
    return replace(settings, bootstrap_key=path.read_text(), log_level="warning")


def visit(settings: Settings, rate: float) -> None:
    """Says where the service is, then sends users until Ctrl-C."""
    url = f"http://{settings.host}:{settings.port}"
    console = Console()
    console.print(
        f"\n[bold]Croupier[/bold] on {url}\nAPI key   {settings.bootstrap_key}\n\n"
        f"Which arm wins:  curl -H 'Authorization: Bearer {settings.bootstrap_key}' {url}/v1/experiments/msweb/arms\n"
        "Now real users come: visitors of www.microsoft.com in February 1998. Ctrl-C ends it.\n",
        highlight=False,
        soft_wrap=True,
    )
    options = ReplayOptions(url=url, key=settings.bootstrap_key or "", rate=rate, decisions=None)
    replay_msweb(options, console)
