"""`/metrics` for Prometheus, right with any number of processes.

Each process keeps its sums in memory-mapped files in the format of prometheus_client's multiprocess mode, and whichever
worker is asked adds up the files of all. Files belong to slots, not to process ids: a successor goes on counting where
the dead one stopped, so that totals never fall and files never pile up. A lock shows which slots are alive; gauges
of the dead are left out.
"""

import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.utils import floatToGoString

from monitoring.instruments import Instrument
from monitoring.meter import Series

__all__ = ["MetricFiles", "Totals", "alive", "prometheus_name", "render", "totals"]

_UNITS: Final = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}
_LOCK: Final = ".lock"


def prometheus_name(instrument: Instrument) -> str:
    """The name by OpenTelemetry's rules for Prometheus, without a counter's `_total`."""
    return instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")


class MetricFiles:
    """The files of this process.

    Args:
        folder: shared by all processes of a machine; made when it is missing.
        role: what kind of process this is, without an underscore.
    """

    def __init__(self, folder: Path, role: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock, self._slot = _claim(folder, role)
        self._files: dict[str, MmapedDict] = {}
        self._keys: dict[Series, tuple[str, ...]] = {}
        self._written: dict[Series, int] = {}
        # What the slot's processes before this one had counted.
        self._before: dict[str, float] = {}

    @property
    def slot(self) -> str:
        """Role and number of this process: the same for its successors."""
        return self._slot

    def write(self, every: Sequence[Series], now: float) -> None:
        """Brings the files up to date.

        Args:
            every: all series of this process.
            now: seconds since 1970; of several processes' gauges the newest wins.
        """
        for series in every:
            if self._written.get(series) != series.changes:
                self._written[series] = series.changes
                self._write(series, now)

    def close(self) -> None:
        """Lets go of the slot. Gauges go, counts stay for the successor."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        mark_process_dead(self._slot, str(self._folder))
        os.close(self._lock)

    def _write(self, series: Series, now: float) -> None:
        keys = self._keys.get(series) or self._keys.setdefault(series, _keys_of(series))
        if series.instrument.kind == "gauge":
            self._file(f"gauge_{series.instrument.merge}").write_value(keys[0], series.value, now)
            return
        for key, value in zip(keys, (series.value, *series.counts), strict=True):
            file = self._file(series.instrument.kind)
            if key not in self._before:
                self._before[key] = file.read_value(key)[0]
            file.write_value(key, self._before[key] + value, 0.0)

    def _file(self, kind: str) -> MmapedDict:
        if kind not in self._files:
            self._files[kind] = MmapedDict(str(self._folder / f"{kind}_{self._slot}.db"))
        return self._files[kind]


def render(folder: Path) -> bytes:
    """The metrics of all processes, in Prometheus' text format."""
    with _alone(folder):
        _bury_the_dead(folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return generate_latest(registry)


# By the values of an instrument's labels, and `le` of a histogram's bucket: what all processes together have counted.
Totals = Mapping[tuple[str, ...], float]


def totals(folder: Path, instruments: Sequence[Instrument]) -> dict[str, Totals]:
    """What all processes have counted of some counters and histograms, by name; much cheaper than `render`.

    A histogram's buckets are not cumulative; its sum has no `le`.
    """
    wanted = {f'["{prometheus_name(i)}", ': i for i in instruments}
    found: dict[str, dict[tuple[str, ...], float]] = {i.name: defaultdict(float) for i in instruments}
    for path in [*folder.glob("counter_*.db"), *folder.glob("histogram_*.db")]:
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):
            instrument = wanted.get(key[: key.index(" ") + 1])
            if instrument is not None:
                labels = json.loads(key)[2]
                names = (*(label.replace(".", "_") for label in instrument.labels), "le")
                found[instrument.name][tuple(labels[name] for name in names if name in labels)] += value
    return dict(found)


def alive(folder: Path) -> list[str]:
    """The processes of this machine that run: role and number of each, in order."""
    with _alone(folder):
        return sorted(path.stem for path in folder.glob(f"*{_LOCK}") if _is_alive(path))


def _keys_of(series: Series) -> tuple[str, ...]:
    """The keys of a series' values in the files: the value, then its buckets."""
    name = prometheus_name(series.instrument)
    if series.instrument.kind == "histogram":
        bounds = map(floatToGoString, (*series.instrument.buckets, float("inf")))
        return _key(series, name + "_sum"), *(_key(series, name + "_bucket", bound) for bound in bounds)
    return (_key(series, name + "_total" if series.instrument.kind == "counter" else name),)


def _key(series: Series, name: str, bound: str | None = None) -> str:
    """The key of one value: metric, sample, labels and help."""
    names = [label.replace(".", "_") for label in series.instrument.labels]
    values = list(series.labels)
    if bound is not None:
        names, values = [*names, "le"], [*values, bound]
    return mmap_key(prometheus_name(series.instrument), name, names, values, series.instrument.help)


def _claim(folder: Path, role: str) -> tuple[int, str]:
    """Locks the lowest free slot of a role. Where nobody is alive counting starts afresh: nothing old piles up."""
    with _alone(folder):
        alive = [path for path in folder.glob(f"*{_LOCK}") if _is_alive(path)]
        if not alive:
            for path in [*folder.glob("*.db"), *folder.glob(f"*{_LOCK}")]:
                path.unlink()
        number = 0
        while (path := folder / f"{role}-{number}{_LOCK}") in alive:
            number += 1
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor, path.stem


def _bury_the_dead(folder: Path) -> None:
    """Removes the gauges of slots that nobody holds."""
    for path in folder.glob(f"*{_LOCK}"):
        if not _is_alive(path):
            with suppress(FileNotFoundError):  # another process is at it too
                mark_process_dead(path.stem, str(folder))


def _is_alive(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps others from claiming slots meanwhile: who only looks whether a slot is free holds its lock a moment."""
    descriptor = os.open(folder / "claiming", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
