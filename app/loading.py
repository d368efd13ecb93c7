"""Loads a file of items into a running service: checked as a whole first, then sent in pieces."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from app.errors import Fault, InvalidInput
from app.items import ItemRequest, Line, Reader, read_csv, read_ndjson
from app.replay.client import Client, ServiceAway

__all__ = ["READERS", "load_items"]

READERS: dict[str, Reader] = {".ndjson": read_ndjson, ".jsonl": read_ndjson, ".csv": read_csv}
"""By the ending of a file's name; `.gz` may follow."""

_PIECE = 5_000
_MOST_FAULTS = 20
_TRIES = 5


def load_items(path: Path, client: Client, console: Console, *, pause: Callable[[float], None] = time.sleep) -> int:
    """Loads a file's items; returns how many there are. Loading it again changes nothing, so it may be interrupted.

    Raises:
        InvalidInput: lines of the file are wrong. Then nothing was sent.
        RequestRefused: the service does not take it.
        ServiceAway: the service does not answer; what was sent before is loaded.
    """
    count = _checked(path)
    with closing(client), Progress(console=console) as progress:
        task = progress.add_task(f"Loading {path.name}", total=count)
        items = (line.item for line in _lines(path) if line.item is not None)
        while piece := list(islice(items, _PIECE)):
            _send(client, piece, pause)
            progress.advance(task, len(piece))
    return count


def _checked(path: Path) -> int:
    """How many items the file has, if every line is right and no item occurs twice."""
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for line in _lines(path):
        fault = line.fault
        if line.item is not None and first.setdefault(line.item.item_id, line.number) != line.number:
            fault = f"item {line.item.item_id!r} stands in line {first[line.item.item_id]} already"
        if fault:
            faults.append(Fault(f"{path.name}, line {line.number}", fault))
        if len(faults) == _MOST_FAULTS:
            break
    if faults:
        told = "\n".join(f"{where}: {what}" for where, what in faults)
        raise InvalidInput(*faults, detail=f"{told}\nNothing was loaded.")
    return len(first)


def _lines(path: Path) -> Iterator[Line]:
    packed = path.suffix == ".gz"
    reader = READERS.get(Path(path.stem).suffix if packed else path.suffix)
    if reader is None:
        raise InvalidInput.at(path.name, f"the name must end in {', '.join(READERS)}; .gz may follow")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield from reader(file)
    except (OSError, EOFError) as error:
        raise InvalidInput.at(path.name, f"cannot be read: {error}") from error


def _send(client: Client, items: list[ItemRequest], pause: Callable[[float], None]) -> None:
    """Sends a piece; a service that restarts is waited for."""
    for attempt in range(1, _TRIES):
        try:
            client.put_items(items)
        except ServiceAway as away:
            pause(max(away.retry_after_s, 0.2 * 2**attempt))
        else:
            return
    client.put_items(items)
