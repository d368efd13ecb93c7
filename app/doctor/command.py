"""`croupier doctor`."""

import platform
import sys
from importlib.metadata import version

import click

from app.doctor.examination import examine
from app.doctor.finding import Finding

__all__ = ["doctor_command"]


@click.command("doctor")
def doctor_command() -> None:
    """Checks settings, this machine and the database, and says what to do; exit status 1 if something is at fault."""
    click.echo(f"croupier {version('croupier')}, Python {platform.python_version()}")
    states = set()
    for finding in examine():
        click.echo(_line(finding))
        states.add(finding.state)
    if "fault" in states:
        sys.exit(1)


def _line(finding: Finding) -> str:
    advice = f"\n{'':8} → {finding.advice}" if finding.advice else ""
    return f"{finding.state:8} {finding.check}: {finding.detail}{advice}"
