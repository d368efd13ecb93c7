"""Writes an experiment's log into a file, in memory that does not grow with it."""

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.errors import ConfigurationError, InvalidInput, NotFound
from app.evaluation.experiment import question_of
from app.export import obp
from app.store import allocations, contracts, experiments, log
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.log import Question

__all__ = ["FORMATS", "export_log"]

FORMATS: Final = ("parquet", "obp")


def export_log(
    database: Database, key: str, form: str, output: Path, *, since: datetime | None, until: datetime | None
) -> int:
    """Writes the log as of one moment, and shows how far it is; returns the number of rows.

    Args:
        database: where to read.
        key: the experiment's.
        form: one of `FORMATS`.
        output: the file. It is there when it is whole; one that was there is replaced.
        since: only decisions made then or later.
        until: only decisions made before.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: the moments are in the wrong order.
        ConfigurationError: the file cannot be written, or the format needs a package that is missing.
    """
    if since and until and since >= until:
        raise InvalidInput(detail=f"--since {since.isoformat()} must lie before --until {until.isoformat()}")
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with database.transaction(snapshot=True) as connection:
            experiment = experiments.find(connection, key)
            if experiment is None:
                raise NotFound(f"There is no experiment {key!r}")
            question = question_of(connection, experiment, datetime.now(UTC), since=since, until=until)
            write = _write_parquet if form == "parquet" else _write_obp
            count = _watch(write(connection, experiment, question, unfinished), question, output.name)
        unfinished.replace(output)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write_obp(
    connection: sa.Connection, experiment: Experiment, question: Question, path: Path
) -> Iterator[tuple[int, datetime]]:
    arms = [arm.key for arm in experiments.arms_of(connection, experiment.key)]
    return obp.write(path, log.stream_counted(connection, question), arms)


def _write_parquet(
    connection: sa.Connection, experiment: Experiment, question: Question, path: Path
) -> Iterator[tuple[int, datetime]]:
    try:
        # Only here: the writer needs an optional package.
        parquet = importlib.import_module("app.export.parquet")
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs the package pyarrow: install it with `pip install 'croupier[parquet]'`, or use --format obp"
        ) from error
    declared = [contract.metrics for contract in contracts.of_experiment(connection, experiment.key).values()]
    metrics = sorted(experiment.specification.metric_keys.union(*declared))
    probabilities_of = partial(allocations.probabilities_of, connection, experiment.key)
    found: Iterator[tuple[int, datetime]] = parquet.write(
        path, log.stream(connection, question), metrics, probabilities_of
    )
    return found


def _watch(written: Iterator[tuple[int, datetime]], question: Question, name: str) -> int:
    """Shows the writing: the bar is the log's time, since counting rows first would read it twice."""
    count = 0
    columns = (TextColumn(name, markup=False), BarColumn(), TextColumn("{task.fields[rows]} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = int((question.until - question.since).total_seconds())
        task = progress.add_task("", total=whole, rows="0")
        for rows, decided_at in written:
            count += rows
            progress.update(task, completed=int((decided_at - question.since).total_seconds()), rows=f"{count:,}")
        progress.update(task, completed=whole)
    return count
