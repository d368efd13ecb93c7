"""What waited in the spool reaches the database: all of it, in order, once, whoever wrote it."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.errors import Unavailable
from app.services import Services
from app.serving.health import Health
from app.serving.recovery import Kind, Recovery, encode
from app.serving.spool import Spool
from app.settings import Settings
from app.store.database import Cursor, Database
from app.store.exposures import ExposureEvent
from tests.app.building import decision, disagreements, event, execute, put, query
from tests.running import until


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table of these tests."""

    text: str


class Book:
    """Writes notes, and remembers in which order they came."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def write(self, cursor: Cursor, rows: Sequence[Note]) -> list[str]:
        """Inserts notes, once each; one that says "poison" cannot be."""
        self.batches.append([row.text for row in rows])
        cursor.execute("INSERT INTO notes SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", ([r.text for r in rows],))
        return [row.text for row in rows]

    @property
    def read(self) -> list[str]:
        """All notes, in the order they came."""
        return [text for batch in self.batches for text in batch]


@pytest.fixture
def notes(shared_database: Database) -> Database:
    """A database with an empty table."""
    execute(shared_database, "DROP TABLE IF EXISTS notes")
    execute(shared_database, "DELETE FROM quarantine")
    execute(shared_database, "CREATE TABLE notes (text text PRIMARY KEY CHECK (text <> 'poison'))")
    return shared_database


@pytest.fixture
def book() -> Book:
    """An empty one."""
    return Book()


def recovery_of(database: Database, folder: Path, book: Book, health: Health | None = None) -> Recovery:
    """A recovery of notes, with a spool of its own in a folder."""
    kind = Kind(type=Note, write=book.write)
    return Recovery(database, Spool(folder, limit_bytes=10_000_000), health or Health(), {"note": kind})


def spool(folder: Path, *texts: str, keep_open: bool = False) -> Spool:
    """Spools notes as a worker does that then dies, or lives on."""
    made = Spool(folder, limit_bytes=10_000_000)
    made.append([encode("note", Note(text=text)) for text in texts])
    if not keep_open:
        made.close()
    return made


def stored(database: Database) -> set[str]:
    """The notes in the table."""
    return {text for (text,) in query(database, "SELECT text FROM notes")}


def quarantined(database: Database) -> list[tuple[str, str, str]]:
    """Reason, record and state of the records in quarantine."""
    text = "SELECT reason, payload ->> 'record', state FROM quarantine WHERE kind = 'record' ORDER BY id"
    return [(reason, record, state) for reason, record, state in query(database, text)]


def test_everything_is_replayed_in_order_and_removed(notes: Database, tmp_path: Path, book: Book) -> None:
    """Files oldest first, records as they were appended, in batches; afterwards the folder is empty."""
    texts = [f"n{n}" for n in range(1300)]
    for part in (texts[:5], texts[5:1200], texts[1200:]):
        spool(tmp_path, *part)
    assert recovery_of(notes, tmp_path, book).once() == 1300
    assert book.read == texts
    assert len(book.batches) < 10
    assert stored(notes) == set(texts)
    assert list(tmp_path.iterdir()) == []


def test_with_nothing_to_replay_the_database_is_not_asked(tmp_path: Path, book: Book) -> None:
    """A worker in good health costs the database nothing."""
    absent = Database("postgresql://user@/name?host=/nowhere")
    assert recovery_of(absent, tmp_path, book).once() == 0
    absent.close()


def test_while_the_database_is_away_everything_stays(tmp_path: Path, book: Book) -> None:
    """Looking for it in vain loses nothing, and health stays as it is."""
    absent, health = Database("postgresql://user@/name?host=/nowhere"), Health()
    spool(tmp_path, "a")
    for away in (True, False):
        health.away = away
        recovery = recovery_of(absent, tmp_path, book, health)
        with pytest.raises(Unavailable):
            recovery.once()
        assert health.away is away
    assert len(list(tmp_path.glob("*.spool"))) == 1
    absent.close()


def test_a_database_that_is_back_is_noticed(notes: Database, tmp_path: Path, book: Book) -> None:
    """Health is restored before the replay, so that new rows need not wait for the old."""
    health = Health()
    health.away = True
    spool(tmp_path, "a")
    recovery_of(notes, tmp_path, book, health).once()
    assert not health.away
    assert stored(notes) == {"a"}


def test_replaying_twice_changes_nothing(notes: Database, tmp_path: Path, book: Book) -> None:
    """A replayer that is killed before it removes a file leaves it to be replayed again."""
    spool(tmp_path, "a", "b")
    (path,) = tmp_path.glob("*.spool")
    copy = path.read_bytes()
    recovery_of(notes, tmp_path, book).once()
    path.write_bytes(copy)
    assert recovery_of(notes, tmp_path, book).once() == 2
    assert stored(notes) == {"a", "b"}


def test_a_torn_tail_is_left_out(notes: Database, tmp_path: Path, book: Book) -> None:
    """What a crash cut off was not acknowledged; everything before it is replayed."""
    spool(tmp_path, "a", "b", "c")
    (path,) = tmp_path.glob("*.spool")
    os.truncate(path, path.stat().st_size - 3)
    assert recovery_of(notes, tmp_path, book).once() == 2
    assert stored(notes) == {"a", "b"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (b"note {}", ("unreadable", "note {}")),
        (b"note nonsense", ("unreadable", "note nonsense")),
        (b"unknown {}", ("unreadable", "unknown {}")),
        (b"", ("unreadable", "")),
        (b"\xff\0 \xfe", ("unreadable", r"\xff\0 \xfe")),
        (b'note {"text": "poison"}', ("failed", 'note {"text": "poison"}')),
    ],
)
def test_a_record_that_cannot_be_written_goes_to_quarantine(
    notes: Database, tmp_path: Path, book: Book, record: bytes, kept: tuple[str, str]
) -> None:
    """It holds up nobody, and is kept, once, for whoever looks after the service."""
    for _ in range(2):
        made = spool(tmp_path, "before", keep_open=True)
        made.append([record, encode("note", Note(text="after"))])
        made.close()
        recovery_of(notes, tmp_path, book).once()
    assert stored(notes) == {"before", "after"}
    assert quarantined(notes) == [(*kept, "open")]
    assert query(notes, "SELECT times, last_seen > first_seen FROM quarantine") == [(2, True)]
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_living_worker_are_left_to_it(notes: Database, tmp_path: Path, book: Book) -> None:
    """Until it dies or closes them."""
    owner = spool(tmp_path, "its", keep_open=True)
    assert recovery_of(notes, tmp_path, book).once() == 0
    owner.close()
    assert recovery_of(notes, tmp_path, book).once() == 1


def test_many_workers_replay_each_file_once(notes: Database, tmp_path: Path, book: Book) -> None:
    """Workers that start together after a crash share the files of the dead."""
    for number in range(12):
        spool(tmp_path, *(f"{number}-{n}" for n in range(20)))
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda _: recovery_of(notes, tmp_path, book).once(), range(4)))
    assert sum(counts) == 240
    assert sorted(book.read) == sorted(stored(notes))
    assert len(book.read) == 240


def test_a_lost_connection_leaves_the_file_for_the_next_pass(notes: Database, tmp_path: Path) -> None:
    """A database that goes away in the middle of a replay: what was not replayed stays, and is replayed."""
    book = Book()

    class Interrupted(Book):
        def write(self, cursor: Cursor, rows: Sequence[Note]) -> list[str]:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return super().write(cursor, rows)

    spool(tmp_path, "a", "b")
    with pytest.raises(Unavailable):
        recovery_of(notes, tmp_path, Interrupted()).once()
    assert len(list(tmp_path.glob("*.spool"))) == 1
    assert recovery_of(notes, tmp_path, book).once() == 2


def test_what_is_spooled_meanwhile_is_replayed_next(notes: Database, tmp_path: Path, book: Book) -> None:
    """A running recovery empties the folder however often something is added, and stops when it is told to."""
    recovery, stop = recovery_of(notes, tmp_path, book), threading.Event()
    thread = threading.Thread(target=partial(recovery.run, stop, interval_s=0.02))
    thread.start()
    for number in range(10):
        spool(tmp_path, f"n{number}")
        recovery._spool.append([encode("note", Note(text=f"own{number}"))])
    until(lambda: len(stored(notes)) == 20 and not list(tmp_path.iterdir()), "everything to be replayed", 10)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[Services]:
    """A web worker's parts on a database with an experiment "home"."""
    put(database, "home")
    url = database.engine.url.render_as_string(hide_password=False)
    made = Services.build(Settings(commit_budget_ms=5_000, data_dir=tmp_path), url)
    yield made
    made.close()


def count(database: Database) -> list[tuple[Any, ...]]:
    """Decisions, events, Σn and Σr."""
    return query(
        database,
        """SELECT (SELECT count(*)::int FROM decisions), (SELECT count(*)::int FROM feedback),
            (SELECT sum(n)::int FROM arm_statistics), (SELECT sum(sum) FROM arm_statistics)""",
    )


def test_decisions_and_feedback_come_back_as_they_went(database: Database, services: Services) -> None:
    """Spooled while the database is away, some of it committed after all: replayed it counts once, and adds up."""
    rows = [decision(unit=f"u{n} ü\n", context={"n": [n, None]}, payload={"x": 1.5}) for n in range(5)]
    services.decisions.record(rows[:2])
    services.health.away = True
    assert services.decisions.record(rows)[1] == "spooled"
    assert services.feedback.record([event(row) for row in rows for _ in range(2)])[1] == "spooled"
    assert count(database) == [(2, 0, None, None)]
    assert services.recovery.once() == 15
    assert count(database) == [(5, 5, 5, 5.0)]
    found = query(database, "SELECT unit, context, payload FROM decisions ORDER BY unit")
    assert found == [(row.unit, row.context, row.payload) for row in rows]
    assert disagreements(database) == []


def test_events_that_turn_out_not_to_fit_go_to_quarantine(database: Database, services: Services) -> None:
    """Events that were accepted unchecked and that their experiment has no use for are kept; the others count."""
    row = decision()
    late = row.decided_at + timedelta(days=30)
    services.health.away = True
    services.decisions.record([row])
    services.feedback.record([event(row, 7.0, event_id="odd"), event(row), event(row, metric="nothing")])
    services.exposures.record([ExposureEvent(decision_id=row.decision_id, occurred_at=late)])
    services.recovery.once()
    assert count(database) == [(1, 1, 1, 1.0)]
    kept = query(database, "SELECT kind, reason, experiment, arm, decision_id FROM quarantine ORDER BY kind, reason")
    about = ("home", "a", row.decision_id)
    assert kept == [
        ("exposure", "too_late", *about),
        ("feedback", "unknown_metric", *about),
        ("feedback", "value_refused", *about),
    ]
    assert disagreements(database) == []
