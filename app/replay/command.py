"""`croupier replay`: real traffic against a running service."""

from typing import Any, Final

import click

from app.replay import (
    HeadlineOptions,
    ReplayOptions,
    read_tests,
    replay_msweb,
    replay_upworthy,
    simulate_upworthy,
)

__all__ = ["replay_group"]

_FIRST_TEST: Final = "5314692e5187adda77000006"  # the first of data/upworthy/bench_tests.csv


@click.group("replay")
def replay_group() -> None:
    """Real traffic against a running service."""


@replay_group.command("msweb")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", required=True, envvar="CROUPIER_BOOTSTRAP_KEY", help="An API key with every scope.")
@click.option("--rate", default=100.0, show_default=True, help="Users a second.")
@click.option("--users", "concurrency", default=32, show_default=True, help="Users at the same time, at most.")
@click.option("--decisions", default=10_000, show_default=True, help="How many.")
@click.option("--forever", is_flag=True, help="Until Ctrl-C instead.")
@click.option("--seed", default=1, show_default=True, help="Of users, arrivals and delays.")
@click.option("-k", default=3, show_default=True, help="Items per recommendation.")
@click.option("--window", "window_s", default=5.0, show_default=True, help="Attribution window, seconds.")
def replay_msweb_command(*, forever: bool, decisions: int, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Users of www.microsoft.com in February 1998, one visit held out each: is it among the items?"""
    replay_msweb(ReplayOptions(decisions=None if forever else decisions, **options))


@replay_group.command("upworthy")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", envvar="CROUPIER_BOOTSTRAP_KEY", help="An API key with every scope.")
@click.option("--test", "test_id", default=_FIRST_TEST, show_default=True, help="Which test of the archive.")
@click.option("--all", "every", is_flag=True, help="The twenty tests of data/upworthy/bench_tests.csv instead.")
@click.option(
    "--draw",
    default="rate",
    show_default=True,
    type=click.Choice(["rate", "counts"]),
    help="Clicks come from an arm's rate, or from its real clicks and impressions without replacement.",
)
@click.option("--decisions", default=500_000, show_default=True, type=click.IntRange(min=1), help="Of each test.")
@click.option(
    "--rate", default=2500.0, show_default=True, type=click.FloatRange(min=1), help="Decisions a second of each test."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the clicks.")
@click.option("--in-process", is_flag=True, help="Without a service: the policy alone, in this process.")
def replay_upworthy_command(
    *,
    test_id: str,
    every: bool,
    in_process: bool,
    key: str | None,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """Headline tests of upworthy.com: regret against the best headline, and against dealing all equally."""
    if not key and not in_process:
        raise click.UsageError("Missing option '--key' (or --in-process, which needs no service)")
    tests = read_tests() if every else read_tests([test_id])
    run = simulate_upworthy if in_process else replay_upworthy
    run(tests, HeadlineOptions(key=key or "", **options))
