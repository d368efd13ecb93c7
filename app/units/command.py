"""`croupier units`."""

from datetime import UTC, datetime, timedelta

import click
import msgspec

from app.options import OpenDatabase
from app.serving.allocations import Allocations
from app.units.erase import erase_unit
from app.units.export import export_unit
from app.units.shapes import UnitDecision, UnitExperiment, UnitStory
from app.units.story import Asked, unit_story

__all__ = ["units_command"]


_ONE_DAY = timedelta(days=1)


@click.group("units")
def units_command() -> None:
    """One unit: its story, a copy of all that is stored about it, and the end of that."""


@units_command.command("show")
@click.argument("unit")
@click.option("--experiment", help="Only its decisions of this one.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3650), help="How far back.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Decisions, at most.")
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/units/{id}.")
@click.pass_obj
def show(
    open_database: OpenDatabase, unit: str, experiment: str | None, days: int, limit: int, *, as_json: bool
) -> None:
    """What UNIT was given and why, what came of it, and how it compares with everybody."""
    now = datetime.now(UTC)
    until = now + timedelta(minutes=5)  # a client's clock, from which an id's moment may be, can be ahead
    asked = Asked(unit=unit, since=now - days * _ONE_DAY, until=until, experiment=experiment, limit=limit)
    with open_database() as database:
        story = unit_story(database, Allocations(database), asked, now)
    click.echo(msgspec.json.encode(story) if as_json else _told(story))


@units_command.command("export")
@click.argument("unit")
@click.pass_obj
def export(open_database: OpenDatabase, unit: str) -> None:
    """Writes everything that is stored about UNIT to standard output, as NDJSON; the last line is of kind `end`."""
    with open_database() as database:
        for one in export_unit(database, unit):
            click.echo(msgspec.json.encode(one))


@units_command.command("erase")
@click.argument("unit")
@click.confirmation_option(prompt="Erase it for ever?")
@click.pass_obj
def erase(open_database: OpenDatabase, unit: str) -> None:
    """Erases UNIT: what was counted stays counted, under a name that leads nowhere."""
    with open_database() as database:
        erased = erase_unit(database, unit, datetime.now(UTC), actor="cli")
    parts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in msgspec.structs.asdict(erased).items())
    click.echo(f"erased: {parts}")


def _told(story: UnitStory) -> str:
    """A line for each experiment, then one for each decision."""
    lines = [_compared(beside) for beside in story.summary.experiments]
    lines += [_decision_line(decision) for decision in story.decisions]
    return "\n".join([*lines, "there are older ones" if story.next_cursor else "these are all"])


def _compared(beside: UnitExperiment) -> str:
    now = beside.assigned
    gets = "nothing now" if now is None else f"arm {now.arm or 'as drawn'} now ({now.reason})"
    rates = [
        "no exposure" if rate is None else f"{rate:.4g}"
        for rate in (beside.unit.reward_rate, beside.population.reward_rate)
    ]
    return (
        f"{beside.experiment}: gets {gets}; {beside.unit.decisions} of {beside.population.decisions} decisions,"
        f" {beside.metric} by exposure {rates[0]}, of all units {rates[1]}"
    )


def _decision_line(decision: UnitDecision) -> str:
    outcomes = " ".join(f"{metric}={one.state or '-'}" for metric, one in decision.outcomes.items())
    items = ",".join(item.item_id for item in decision.items)
    return (
        f"{decision.decided_at:%Y-%m-%d %H:%M:%S} {decision.decision_id} {decision.experiment}/{decision.arm}"
        f" {decision.reason} p={decision.propensity:.4g} [{items}] {outcomes}"
    )
