"""What a process tells, by its options."""

from pathlib import Path

from monitoring.instruments import DATABASE_AWAY
from monitoring.telemetry import Telemetry, TelemetryOptions


def test_without_sinks_requests_are_not_watched() -> None:
    """Telemetry that is off costs nothing: the application is left as it is."""

    def application(*_: object) -> list[bytes]:
        return []

    telemetry = Telemetry.none()
    assert telemetry.watch(application) is application
    assert telemetry.exposition() is None
    telemetry.close()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """A process without a place for its metrics has none, and works."""
    (tmp_path / "file").write_text("")
    telemetry = Telemetry(TelemetryOptions(metrics_folder=tmp_path / "file" / "metrics"), "web")
    telemetry.start()
    telemetry.meter.add(DATABASE_AWAY)
    assert telemetry.exposition() is None
    telemetry.close()


def test_what_is_noted_is_told_at_once_by_the_process_that_is_asked(tmp_path: Path) -> None:
    """A scrape brings its own process up to date first."""
    telemetry = Telemetry(TelemetryOptions(metrics_folder=tmp_path), "web")
    telemetry.meter.add(DATABASE_AWAY, (), 1.0)
    assert b"croupier_database_away 1.0" in (telemetry.exposition() or b"")
    telemetry.close()
