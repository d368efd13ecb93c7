"""Checks of this machine: the data directory, and what waits in its spool."""

import shutil
import tempfile
from pathlib import Path

from app.doctor.finding import Finding, fault, ok, warning
from app.serving.spool import Spool
from app.settings import Settings

__all__ = ["check_machine"]

_MB = 1_000_000


def check_machine(settings: Settings) -> list[Finding]:
    """The data directory can be written, has room for the spool, and the spool is empty."""
    used = Spool(settings.data_dir / "spool", limit_bytes=0).size_bytes()
    return [_writable(settings.data_dir), _room(settings, used), _spool(settings, used)]


def _writable(folder: Path) -> Finding:
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
    except OSError as error:
        return fault(
            "data directory",
            f"{folder.resolve()} cannot be written: {error.strerror}",
            "Let the user of this process write there, or set CROUPIER_DATA_DIR",
        )
    missing = "" if existing == folder else ", which will be made"
    return ok("data directory", f"{folder.resolve()}{missing}")


def _room(settings: Settings, used: int) -> Finding:
    free, limit = shutil.disk_usage(_existing(settings.data_dir)).free, settings.spool_limit_mb * _MB
    detail = f"{free // _MB:,} MB free, for a spool of at most {settings.spool_limit_mb:,} MB"
    if free < limit - used:
        return fault("disk", detail, "Make room, or set CROUPIER_SPOOL_LIMIT_MB to less")
    return ok("disk", detail)


def _spool(settings: Settings, used: int) -> Finding:
    if used >= settings.spool_limit_mb * _MB:
        return fault(
            "spool", f"it is full: {used:,} bytes; decisions and feedback are refused",
            "Bring the database back, or raise CROUPIER_SPOOL_LIMIT_MB",
        )  # fmt: skip
    if used:
        return warning(
            "spool", f"{used:,} bytes are on this disk only",
            "With the database there, a web server with this data directory replays them within seconds: start one",
        )  # fmt: skip
    return ok("spool", "empty")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
