"""`croupier simulate`."""

from typing import Any

import click
import msgspec
from rich.console import Console

from app.simulation.run import SimulationOptions, simulate
from app.simulation.scenarios import SCENARIOS

__all__ = ["simulate_command"]


@click.command("simulate")
@click.option("--scenario", default="quiet", show_default=True, type=click.Choice(list(SCENARIOS)), help="Which fault.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", required=True, envvar="CROUPIER_BOOTSTRAP_KEY", help="An API key with every scope.")
@click.option("--experiment", help="Its key. Default: simulate-SCENARIO.")
@click.option("--users", default=2000, show_default=True, type=click.IntRange(min=1), help="How many people.")
@click.option("--items", default=200, show_default=True, type=click.IntRange(25, 5000), help="Of the catalogue.")
@click.option("--duration", default=60.0, show_default=True, type=click.FloatRange(min=1), help="Seconds.")
@click.option("--rate", default=50.0, show_default=True, type=click.FloatRange(min=0.1), help="Requests a second.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of world and traffic.")
@click.option("-k", default=5, show_default=True, type=click.IntRange(1, 20), help="Items per recommendation.")
@click.option(
    "--window", "window_s", default=5.0, show_default=True, type=click.FloatRange(min=1), help="Attribution, seconds."
)
@click.option("--model-host", default="127.0.0.1", show_default=True, help="This machine, as the service sees it.")
@click.option("--json", "as_json", is_flag=True, help="For machines; progress goes to standard error.")
def simulate_command(*, scenario: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Synthetic users with known truth against a running service, and one fault halfway."""
    console = Console(stderr=as_json)
    result = simulate(SCENARIOS[scenario], SimulationOptions(**options), console)
    if as_json:
        click.echo(msgspec.json.encode(result))
