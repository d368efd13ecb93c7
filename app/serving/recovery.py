"""Brings spooled records into the database once it is back: in order, idempotently, also those of dead workers."""

import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.errors import Unavailable
from app.serving.health import Health
from app.serving.spool import Spool, read_records
from app.store import quarantine
from app.store.database import Cursor, Database, DriverConnection, is_away, is_transient
from app.store.quarantine import Entry
from monitoring.instruments import SPOOL_EVENTS
from monitoring.meter import Meter

__all__ = ["Kind", "Recovery", "encode"]

log = logging.getLogger(__name__)

_BATCH = 500
_PATIENCE_S = 30.0


class _Unreadable(ValueError):
    """A record of the spool is not what any version of the service writes."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of record: its type, and what writes it, or puts what turns out to be of no use in quarantine."""

    type: type[Any]
    write: Callable[[Cursor, Sequence[Any]], Sequence[Any]]


def encode(kind: str, row: msgspec.Struct) -> bytes:
    """A row as a record of the spool: its kind, a space, JSON."""
    return kind.encode() + b" " + msgspec.json.encode(row)


class Recovery:
    """Looks for the database while it is away, and replays the spool when it is not.

    Args:
        database: where records belong.
        spool: where they wait.
        health: set when the database answers again.
        kinds: by the word that `encode` was given.
        meter: counts what is replayed.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        health: Health,
        kinds: Mapping[str, Kind],
        meter: Meter | None = None,
    ) -> None:
        self._database = database
        self._spool = spool
        self._health = health
        self._kinds = kinds
        self._meter = meter or Meter(enabled=False)

    def run(self, stop: threading.Event, *, interval_s: float) -> None:
        """Recovers what there is to recover, every `interval_s` seconds until `stop` is set."""
        while not stop.wait(interval_s):
            try:
                self.once()
            except Unavailable:
                self._health.away = True
            except Exception:  # the records stay where they are, and the next pass tries again
                log.exception("cannot recover")

    def once(self) -> int:
        """Replays everything that can be claimed; returns how many records.

        Raises:
            Unavailable: the database is away; what was not replayed stays.
        """
        if self._health.away:
            self._database.ping()
            self._health.away = False
            log.warning("the database is back")
        if self._spool.size_bytes() == 0:
            return 0
        with self._spool.claim() as paths:
            return sum(self._replay(path) for path in paths)

    def _replay(self, path: Path) -> int:
        """Replays one file and removes it. Killed in between, it is replayed again: that changes nothing."""
        connection = self._database.connect_raw(statement_timeout_s=_PATIENCE_S)
        count = 0
        try:
            for kind, records in itertools.groupby(read_records(path), key=_kind_of):
                while batch := list(itertools.islice(records, _BATCH)):
                    self._write(connection, kind, batch, path)
                    self._meter.add(SPOOL_EVENTS, (kind if kind in self._kinds else "unknown", "replayed"), len(batch))
                    count += len(batch)
        finally:
            connection.close()
        path.unlink()
        log.warning("replayed %d records of %s", count, path.name)
        return count

    def _write(self, connection: DriverConnection, kind: str, batch: list[bytes], path: Path) -> None:
        """Writes records; one that cannot be written goes to quarantine, so that it does not hold up the others."""
        try:
            rows = self._decode(kind, batch)
            with connection.cursor() as cursor:
                self._kinds[kind].write(cursor, rows)
        except Exception as error:
            if is_away(error) or is_transient(error):
                raise Unavailable("The database is away") from error
            if len(batch) == 1:
                _quarantine(connection, batch[0], error, path)
                return
            for record in batch:
                self._write(connection, kind, [record], path)

    def _decode(self, kind: str, batch: list[bytes]) -> list[Any]:
        if kind not in self._kinds:
            raise _Unreadable(f"{kind!r} is no kind of record")
        try:
            return [msgspec.json.decode(r.partition(b" ")[2], type=self._kinds[kind].type) for r in batch]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _Unreadable(str(error)) from error


def _quarantine(connection: DriverConnection, record: bytes, error: Exception, path: Path) -> None:
    """Keeps a record that was acknowledged and cannot be used, so that somebody can look into it."""
    log.error("a record of %s goes to quarantine: %r", path.name, error)
    entry = Entry(
        fingerprint=f"record:{hashlib.sha256(record).hexdigest()}",
        kind="record",
        reason="unreadable" if isinstance(error, _Unreadable) else "failed",
        detail=_storable(str(error)),
        payload={"record": _storable(record.decode(errors="backslashreplace"))},
    )
    with connection.cursor() as cursor:
        quarantine.keep(cursor, [entry])


def _storable(text: str) -> str:
    """PostgreSQL stores no U+0000 in a text."""
    return text.replace("\0", "\\0")


def _kind_of(record: bytes) -> str:
    return record.partition(b" ")[0].decode(errors="backslashreplace")
