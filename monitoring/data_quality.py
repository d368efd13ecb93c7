"""How good the data of a closed window are: shares of what should not be there, each with its count and denominator.

Pure functions of rows and counts. Shares whose denominator is 0 have no value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "EventCounts",
    "ListCount",
    "Share",
    "Shown",
    "events",
    "lists",
    "missing",
    "total",
    "unknown_items",
    "unseen",
]

Scalar = str | float | bool | None
Context = Mapping[str, Scalar]

_LARGEST_UNSEEN_MASS: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Share:
    """`count` of `of`."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """Within [0, 1]; None of nothing."""
        return self.count / self.of if self.of else None

    def __add__(self, other: Share) -> Share:
        return Share(count=self.count + other.count, of=self.of + other.of)


@dataclass(frozen=True, kw_only=True)
class ListCount:
    """How many lists of an arm had a length."""

    arm: str
    length: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How many items the lists of an arm showed, and how many of them are in the catalogue."""

    arm: str
    items: int
    known: int


@dataclass(frozen=True, kw_only=True)
class EventCounts:
    """Events about decisions that were received in a window.

    Attributes:
        taken: that were recorded.
        duplicate: of them: those that say again, under another id, what another event has said.
        in_time: of the reward's metric, that came within the attribution window.
        late: of the reward's metric, that came after it, whether or not they were taken.
        invalid: that could not be used: unreadable, or of a metric that is not declared.
        out_of_range: that could not be used: with a value that the reward cannot have.
        refused: that could not be used for any reason.
        waiting: of all experiments, that still wait for their decision.
        everybodys: of all experiments, that were recorded or still wait.
    """

    taken: int = 0
    duplicate: int = 0
    in_time: int = 0
    late: int = 0
    invalid: int = 0
    out_of_range: int = 0
    refused: int = 0
    waiting: int = 0
    everybodys: int = 0


def missing(contexts: Sequence[Context], names: Iterable[str]) -> dict[str, Share]:
    """Of each feature, the rows in which it is null or absent."""
    rows = len(contexts)
    return {name: Share(count=sum(context.get(name) is None for context in contexts), of=rows) for name in names}


def unseen(reference: Sequence[Context], current: Sequence[Context], names: Iterable[str]) -> dict[str, Share]:
    """Of each feature of words or switches, the values that the reference did not have.

    Left out are features of which the next value is a new one with a probability of more than 1 %, as ids: the share of
    categories that came once estimates it (Good, 1953, "The population frequencies of species").
    """
    found = {}
    for name in names:
        known, new = (_categories(contexts, name) for contexts in (reference, current))
        once = sum(count == 1 for count in known.values())
        if known and once <= _LARGEST_UNSEEN_MASS * known.total():
            count = sum(count for value, count in new.items() if value not in known)
            found[name] = Share(count=count, of=new.total())
    return found


def total(shares: Iterable[Share]) -> Share:
    """All of them together."""
    return sum(shares, Share(count=0, of=0))


def lists(reference: Iterable[ListCount], current: Iterable[ListCount]) -> dict[str, Share]:
    """Empty lists, and those shorter than the arm's most frequent length in the reference; empty ones are not short.

    Lists of arms that the reference does not have are not short.
    """
    counted: dict[str, Counter[int]] = {}
    for each in reference:
        counted.setdefault(each.arm, Counter())[each.length] += each.count
    usual = {arm: max(lengths, key=lambda length: (lengths[length], length)) for arm, lengths in counted.items()}
    now = list(current)
    n = sum(each.count for each in now)
    empty = sum(each.count for each in now if not each.length)
    short = sum(each.count for each in now if 0 < each.length < usual.get(each.arm, 0))
    return {"empty_list_share": Share(count=empty, of=n), "short_list_share": Share(count=short, of=n)}


def unknown_items(reference: Iterable[Shown], current: Iterable[Shown]) -> Share:
    """Items that the catalogue does not have, of the arms that usually show what it has.

    Those are the ones of which most items of the reference are in the catalogue; other arms bring items of their own.
    """
    usual = {each.arm for each in reference if each.known > each.items / 2}
    return total(Share(count=each.items - each.known, of=each.items) for each in current if each.arm in usual)


def events(counts: EventCounts) -> dict[str, Share]:
    """What is wrong with events."""
    received = counts.taken + counts.refused
    return {
        "invalid_share": Share(count=counts.invalid, of=received),
        "out_of_range_share": Share(count=counts.out_of_range, of=received),
        "late_share": Share(count=counts.late, of=counts.in_time + counts.late),
        "duplicate_share": Share(count=counts.duplicate, of=counts.taken),
        "unmatched_share": Share(count=counts.waiting, of=counts.everybodys),
    }


def _categories(contexts: Iterable[Context], name: str) -> Counter[str | bool]:
    return Counter(value for context in contexts if isinstance(value := context.get(name), str | bool))
