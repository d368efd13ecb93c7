"""What the processes of a machine have counted, as a page shows it: histograms, and tables of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitoring.exposition import Totals
from monitoring.instruments import Instrument

__all__ = ["Distribution", "by_label", "distribution"]

Labels = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A histogram.

    Attributes:
        bounds: upper bounds of the buckets; the last one is infinity.
        counts: of each bucket alone.
        total: sum of all values.
    """

    bounds: Sequence[float]
    counts: Sequence[float]
    total: float

    @property
    def n(self) -> float:
        """How many values."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """None: there is none."""
        return self.total / self.n if self.n else None

    def quantile(self, q: float) -> float | None:
        """Upper bound of the bucket that a quantile lies in; None: nothing was measured."""
        seen = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            seen += count
            if self.n and seen >= q * self.n:
                return bound
        return None


def distribution(
    instrument: Instrument, counted: Totals, keep: Callable[[Labels], bool] = lambda _: True
) -> Distribution:
    """A histogram of all label sets that are kept together."""
    bounds = (*instrument.buckets, float("inf"))
    counts, total, width = dict.fromkeys(bounds, 0.0), 0.0, len(instrument.labels)
    for key, value in counted.items():
        if not keep(key[:width]):
            continue
        if len(key) == width:
            total += value
        else:
            counts[float(key[-1])] += value
    return Distribution(bounds=bounds, counts=[counts[bound] for bound in bounds], total=total)


def by_label(
    instrument: Instrument, counted: Totals, label: Callable[[Labels], str | None], *, most: int
) -> list[tuple[str, Distribution]]:
    """A histogram for each word that is made of labels (None: left out), those with the most values first."""
    names = {name for key in counted if (name := label(key[: len(instrument.labels)])) is not None}

    def of(name: str) -> Distribution:
        return distribution(instrument, counted, lambda labels: label(labels) == name)

    return sorted(((name, of(name)) for name in names), key=lambda pair: (-pair[1].n, pair[0]))[:most]
