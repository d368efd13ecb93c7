"""The command line: `croupier --help`."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from app import demo as demonstration
from app import learner as learner_role
from app import monitor_process
from app.alerting.command import alerts_group
from app.batch.command import batch_options, measure
from app.configuration.command import apply_command, export_config_command
from app.console.command import operators_group
from app.doctor.command import doctor_command
from app.embedded import EmbeddedPostgres
from app.errors import ConfigurationError, CroupierError
from app.evaluation.command import evaluate
from app.export import export_log, export_options
from app.keys import ensure_key
from app.keys.command import keys_command
from app.loading import load_items
from app.quarantine_command import quarantine_group
from app.replay.client import Client, ServiceAway
from app.replay.command import replay_group
from app.settings import Settings
from app.simulation.command import simulate_command
from app.store.database import Database
from app.store.migrate import migrate as run_migrations
from app.store.retention import keep_since
from app.store.verify import verify as run_verification
from app.supervisor import Supervisor, check_port_free, stop_with_parent
from app.telemetry import telemetry_of
from app.units.command import units_command
from monitoring.logs import configure

__all__ = ["main"]

_GUNICORN_CONFIGURATION = Path(__file__).parent / "web" / "gunicorn_conf.py"


Command = TypeVar("Command", bound=Callable[..., Any])


class _Group(click.Group):
    """Commands whose expected errors are told in a sentence, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except CroupierError as error:
            raise click.ClickException(error.detail) from error


class _AwayError(click.ClickException):
    """The service does not answer: the same command may succeed later."""

    exit_code = 3


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="croupier")
@click.pass_context
def main(context: click.Context) -> None:
    """Deals recommender variants, learns from what comes back, and shows how they do.

    Settings come from the environment (docs/reference.md); options win over them.
    """
    context.obj = lambda: _database(Settings.from_environment())  # for commands in modules of their own


for _command in (
    alerts_group,
    apply_command,
    doctor_command,
    evaluate,
    export_config_command,
    keys_command,
    operators_group,
    quarantine_group,
    replay_group,
    simulate_command,
    units_command,
):
    main.add_command(_command)


def _server_options(command: Command) -> Command:
    for option in (
        click.option("--host", help="Address to listen on."),
        click.option("--port", type=int, help="Port to listen on."),
        click.option("--workers", type=int, help="Web worker processes."),
        click.option("--data-dir", type=click.Path(path_type=Path), help="Where local data lives."),
    ):
        command = option(command)
    return command


@main.command()
@_server_options
def up(**options: Any) -> None:  # noqa: ANN401 - click's options
    """Runs everything on this machine, with an embedded PostgreSQL when DATABASE_URL is unset."""
    settings = Settings.from_environment(**options)
    configure(settings.log_level, role="supervisor")
    with _everything(settings, _stop_signal()) as run:
        click.echo(f"Croupier listens on http://{settings.host}:{settings.port}", err=True)
        run()


@main.command()
@_server_options
@click.option("--rate", default=60.0, show_default=True, help="Users a second.")
def demo(rate: float, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Runs everything, and replays real users against it until Ctrl-C."""
    settings = demonstration.with_key(Settings.from_environment(**options))
    configure("warning", role="supervisor")
    stop = _stop_signal()
    prepare = partial(demonstration.add_operator, settings)
    with _everything(settings, stop, prepare) as run:
        service = threading.Thread(target=run, name="service")
        service.start()
        try:
            demonstration.visit(settings, rate)
        finally:
            stop.set()
            service.join()


@main.command()
@_server_options
def web(**options: Any) -> None:  # noqa: ANN401 - click's options
    """Serves HTTP. Needs DATABASE_URL."""
    settings = Settings.from_environment(**options)
    _need_database(settings)
    # gunicorn replaces this process, so that gevent can patch a fresh interpreter, and signals reach it directly.
    # numpy's matrix products are small here: more threads would only fight over the cores that requests need.
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", **settings.as_environment()})
    arguments = ["-m", "gunicorn", "--config", str(_GUNICORN_CONFIGURATION), "app.web.wsgi:build()"]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - our own interpreter


@main.command()
@_server_options
def learner(**options: Any) -> None:  # noqa: ANN401 - click's options
    """Turns statistics into allocations. Any number may run: one is active. Needs DATABASE_URL."""
    settings = Settings.from_environment(**options)
    run = partial(learner_role.run, interval_s=settings.learner_interval_ms / 1000)
    _run_role(settings, "learner", run)


@main.command()
@_server_options
def monitor(**options: Any) -> None:  # noqa: ANN401 - click's options
    """Keeps house; watches data, quality, alerts, avatars. Any number may run: one is active. Needs DATABASE_URL."""
    settings = Settings.from_environment(**options)
    _run_role(settings, "monitor", partial(monitor_process.run, settings))


@main.command()
def migrate() -> None:
    """Brings the database to this version's schema, and makes CROUPIER_BOOTSTRAP_KEY if it is set."""
    settings = Settings.from_environment()
    with _database(settings) as database:
        click.echo(f"The schema is at revision {_prepare(database, settings)}")


@main.command()
def verify() -> None:
    """Checks that all statistics equal the fold of the event log; exit status 1 if not."""
    settings = Settings.from_environment()
    with _database(settings) as database:
        found = run_verification(database, since=_log_whole_since(settings))
    for d in found:
        click.echo(f"{d.check}: {d.where}: stored {d.stored}, the log says {d.expected}")
    if found:
        sys.exit(1)
    click.echo("All statistics equal the fold of the log")


@main.command()
@export_options
def export(*, experiment: str, form: str, output: Path, since: datetime | None, until: datetime | None) -> None:
    """Writes the decisions of EXPERIMENT, and what came of them, into a file."""
    with _database(Settings.from_environment()) as database:
        count = export_log(database, experiment, form, output, since=since, until=until)
    click.echo(f"{output} holds {count:,} decisions")


@main.command()
@batch_options
def batch(**options: Any) -> None:  # noqa: ANN401 - click's options
    """Works out the quality of EXPERIMENTS, of all without any, for windows of time that are over.

    Exit status 1 if one could not be measured: the log says why, and the others are.
    """
    with _database(Settings.from_environment()) as database:
        measure(database, **options)


@main.group()
def db() -> None:
    """The embedded PostgreSQL."""


@db.command("start")
def db_start() -> None:
    """Starts it and prints its URL."""
    click.echo(_embedded().start())


@db.command("stop")
def db_stop() -> None:
    """Stops it."""
    _embedded().stop()


@db.command("status")
def db_status() -> None:
    """Says whether it runs, and where it keeps its data."""
    status = _embedded().status()
    click.echo(f"{'running, process ' + str(status.pid) if status.running else 'stopped'}")
    click.echo(
        f"PostgreSQL {status.version}\nURL      {status.url}\ncluster  {status.cluster}\nlog      {status.log_file}"
    )


@db.command("reset")
@click.confirmation_option(prompt="Delete all of its data?")
def db_reset() -> None:
    """Deletes all of its data."""
    _embedded().reset()


@main.group()
def items() -> None:
    """The catalogue of items."""


@items.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", required=True, envvar="CROUPIER_BOOTSTRAP_KEY", help="An API key with the scope admin.")
def items_load(file: Path, url: str, key: str) -> None:
    """Loads FILE (.ndjson, .jsonl or .csv, also .gz) over HTTP; items that exist are replaced.

    The whole file is checked first: exit status 1 says that it, or the key, was refused and why. Exit status 3: the
    service did not answer; the same command goes on where this one ended.
    """
    try:
        count = load_items(file, Client(url, key, timeout_s=60), Console(stderr=True))
    except ServiceAway as error:
        raise _AwayError(f"{error.detail}\nRun this again: what is loaded already does no harm") from error
    click.echo(f"{count} items are in the catalogue")


def _log_whole_since(settings: Settings) -> datetime:
    """An id may be a day older than the bucket it counts in, so the first day kept may lack some."""
    return keep_since(datetime.now(UTC), settings.retention_days) + timedelta(days=1)


def _stop_signal() -> threading.Event:
    """Set by Ctrl-C and by SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def _everything(
    settings: Settings, stop: threading.Event, prepare: Callable[[Database], None] = lambda _: None
) -> Iterator[Callable[[], None]]:
    """A migrated and prepared database, and a supervisor; what it yields runs the roles until `stop`."""
    check_port_free(settings.host, settings.port)
    with _database_url(settings, stop_after=True) as url:
        database = Database(url)
        _prepare(database, settings)
        prepare(database)
        database.close()
        environment = {**settings.as_environment(), "DATABASE_URL": url}
        yield lambda: Supervisor(environment).run(stop)


def _prepare(database: Database, settings: Settings) -> str:
    """Migrates, makes the bootstrap key, and returns the schema's revision."""
    revision = run_migrations(database, datetime.now(UTC))
    if settings.bootstrap_key:
        ensure_key(database, settings.bootstrap_key)
    return revision


def _run_role(settings: Settings, name: str, run: Callable[..., None]) -> None:
    configure(settings.log_level, role=name)
    stop = _stop_signal()
    stop_with_parent()
    telemetry = telemetry_of(settings, name)
    telemetry.start()
    try:
        database = Database(_need_database(settings), name=f"croupier-{name}", meter=telemetry.meter)
        run(database, stop=stop, meter=telemetry.meter)
    finally:
        telemetry.close()


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    with _database_url(settings, stop_after=False) as url:
        database = Database(url)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def _database_url(settings: Settings, *, stop_after: bool) -> Iterator[str]:
    """The database's URL; an embedded one runs meanwhile, and afterwards unless it did not before."""
    if settings.database_url:
        yield settings.database_url
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    stop_after = stop_after or not embedded.status().running
    try:
        yield embedded.start()
    finally:
        if stop_after:
            embedded.stop()


def _need_database(settings: Settings) -> str:
    if settings.database_url is None:
        raise ConfigurationError("Set DATABASE_URL, or use `croupier up`, which brings an embedded PostgreSQL")
    return settings.database_url


def _embedded() -> EmbeddedPostgres:
    return EmbeddedPostgres(Settings.from_environment().data_dir)


if __name__ == "__main__":
    main()
