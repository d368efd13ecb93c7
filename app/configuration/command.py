"""`croupier apply` and `croupier export-config`."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from app.configuration.applying import apply
from app.configuration.exporting import export_configuration
from app.configuration.plan import Plan
from app.configuration.reading import read_files
from app.options import OpenDatabase

__all__ = ["WOULD_CHANGE", "apply_command", "export_config_command"]


# Of a dry run. Not 2, which a command line with a wrong option ends with.
WOULD_CHANGE = 4

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command("apply")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@click.option("--dry-run", is_flag=True, help="Only show what would change; exit status 4 if something would.")
@click.option("--prune", is_flag=True, help="Remove rules, channels and avatars that FILES lack, by section.")
@click.option("--plan", "expected", help="Only if what changes is this plan, which a dry run showed.")
@click.pass_obj
def apply_command(
    open_database: OpenDatabase, files: tuple[Path, ...], expected: str | None, *, dry_run: bool, prune: bool
) -> None:
    """Makes experiments, alert rules, alert channels and avatars as FILES (YAML) declare them.

    In one transaction: all or nothing. The same again changes nothing. Exit status 1: nothing was changed, and every
    reason stands with its file and line.
    """
    wanted = read_files(files)
    with open_database() as database:
        plan = apply(
            database, wanted, os.environ, datetime.now(UTC), prune=prune, dry_run=dry_run, expected=expected,
            actor="cli",
        )  # fmt: skip
    _show(plan, dry_run=dry_run)
    if dry_run and plan.changes:
        sys.exit(WOULD_CHANGE)


@click.command("export-config")
@click.argument("experiments", nargs=-1)
@click.pass_obj
def export_config_command(open_database: OpenDatabase, experiments: tuple[str, ...]) -> None:
    """Writes the configuration of EXPERIMENTS, or without any all that there is, as YAML for `croupier apply`."""
    with open_database() as database:
        click.echo(export_configuration(database, experiments), nl=False)


def _show(plan: Plan, *, dry_run: bool) -> None:
    for line in (line for change in plan.changes for line in change.diff()):
        click.secho(line, fg=_COLOURS.get(line[:1]), bold=line.startswith(("+++", "---")))
    for note in plan.notes:
        click.echo(note, err=True)
    if not plan.changes:
        click.echo("Nothing to do")
        return
    counted = ", ".join(f"{count} {verb}" for verb, count in plan.counts().items())
    click.echo(f"Would be {counted}: plan {plan.fingerprint}" if dry_run else f"Done: {counted}")
