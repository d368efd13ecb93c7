"""`croupier evaluate`."""

import sys
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console

from app.errors import InvalidInput
from app.evaluation.columns import Columns
from app.evaluation.reading import read_log
from app.evaluation.report import EvaluationReport, report
from app.evaluation.table import notes, table
from app.evaluation.targets import target_of
from bandits.evaluation import ESTIMATORS, FOLDS, evaluate_log
from bandits.interval_methods import Bootstrap, ConfidenceSequence, IntervalMethod, Normal

__all__ = ["evaluate"]

_RESAMPLES = 2000


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was given."""

    path: Path
    target: str
    estimators: str
    method: str
    level: float
    folds: int
    seed: int
    reward_model: str
    arms: str
    position: int | None
    arm_column: str | None
    reward_column: str | None
    propensity_column: str | None


@click.command()
@click.option("--log", "path", required=True, type=click.Path(path_type=Path), help="CSV, gzipped CSV or Parquet.")
@click.option(
    "--target", required=True, help="uniform, arm=KEY, probabilities=JSON or policy=JSON; or a file in place of JSON."
)
@click.option("--estimators", default=",".join(ESTIMATORS), show_default=True, help="Which, separated by commas.")
@click.option(
    "--interval",
    "method",
    default="normal",
    show_default=True,
    type=click.Choice(["normal", "bootstrap", "sequence"]),
    help="sequence: stays right however often a growing log is looked at.",
)
@click.option("--level", default=0.95, show_default=True, help="Confidence level.")
@click.option("--folds", default=FOLDS, show_default=True, help="Of cross-fitting.")
@click.option("--seed", default=1, show_default=True, help="Of the bootstrap.")
@click.option("--reward-model", default="bernoulli", show_default=True, help="What a policy=... takes rewards for.")
@click.option("--arms", default="", help="Arms that exist though they may never have been chosen, separated by commas.")
@click.option("--position", type=int, help="Only rows with this value in the column `position`.")
@click.option("--arm-column", help="Default: arm, action or item_id.")
@click.option("--reward-column", help="Default: reward or click.")
@click.option("--propensity-column", help="Default: propensity, pscore or propensity_score.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def evaluate(*, as_json: bool, **options: object) -> None:
    """What another policy would have earned on a log with propensities; exit status 1 if the log cannot tell."""
    answer = _answer(_Options(**options))  # type: ignore[arg-type] # click has checked them
    if as_json:
        click.echo(msgspec.json.encode(answer))
    else:
        console = Console()
        console.print(table(answer))
        for note in notes(answer):
            console.print(note, highlight=False, markup=False)
    if answer.unavailable:
        sys.exit(1)


def _answer(options: _Options) -> EvaluationReport:
    columns = Columns(arm=options.arm_column, reward=options.reward_column, propensity=options.propensity_column)
    target = target_of(options.target, reward_model=options.reward_model)
    try:
        interval = _interval(options)
        log = read_log(options.path, columns=columns, position=options.position, arms=_listed(options.arms))
        evaluation = evaluate_log(
            log, target, estimators=_listed(options.estimators), interval=interval, n_folds=options.folds
        )
    except ValueError as error:
        raise InvalidInput(detail=f"{options.path} cannot be evaluated: {error}") from error
    return report(log, evaluation)


def _interval(options: _Options) -> IntervalMethod:
    if options.method == "normal":
        return Normal(level=options.level)
    if options.method == "sequence":
        return ConfidenceSequence(level=options.level)
    return Bootstrap(rng=np.random.default_rng(options.seed), resamples=_RESAMPLES, level=options.level)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
