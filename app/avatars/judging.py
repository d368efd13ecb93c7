"""One look at an avatar's list, held against the list before and against what is expected. Pure."""

from collections.abc import Iterator, Sequence

from app.avatars.shape import Expectation
from app.preview import ArmPreview
from app.store.avatars import Before, Look
from monitoring.overlap import OVERLAPS

__all__ = ["judged"]

# Of ids that a fault names.
_NAMED = 5
# Of what a recommender says about its failure, characters.
_LONGEST_FAILURE = 1000


def judged(expect: Expectation, answer: ArmPreview, before: Before) -> Look:
    """What is to be stored of an answer.

    A list is compared with the last one that the arm answered with: an answer that failed in between is no list.
    """
    items = tuple(item.item_id for item in answer.items)
    failure = None if answer.failure is None else _storable(answer.failure)
    earlier = before.items if failure is None else None
    overlap = None if earlier is None else _overlap(expect, (earlier, before.payload), (items, answer.payload))
    faults = [f"no list: {failure}"] if failure is not None else list(_faults(expect, answer, items, overlap))
    return Look(
        arm=answer.arm,
        items=items,
        payload=answer.payload,
        latency_ms=answer.latency_ms,
        failure=failure,
        overlap=overlap,
        came=None if earlier is None else tuple(item for item in items if item not in earlier),
        went=None if earlier is None else tuple(item for item in earlier if item not in items),
        fault="; ".join(faults) or None,
        faults=before.faults + 1 if faults else 0,
    )


def _overlap(expect: Expectation, one: tuple[Sequence[str], object], other: tuple[Sequence[str], object]) -> float:
    """Of two answers, each items and payload. Those without items are alike when their payloads are equal."""
    if not one[0] and not other[0]:
        return float(one[1] == other[1])
    return OVERLAPS[expect.overlap](one[0], other[0])


def _faults(expect: Expectation, answer: ArmPreview, items: Sequence[str], overlap: float | None) -> Iterator[str]:
    if len(items) < expect.min_items:
        yield f"{len(items)} items, expected at least {expect.min_items}"
    missing = [item for item in expect.must_include if item not in items]
    if missing:
        yield f"without {_named(missing)}"
    unwanted = [item for item in expect.must_not_include if item in items]
    if unwanted:
        yield f"with {_named(unwanted)}"
    if overlap is not None and expect.min_overlap is not None and overlap < expect.min_overlap:
        yield f"overlap of {overlap:.3g} with the list before, expected at least {expect.min_overlap:g}"
    if expect.max_latency_ms is not None and answer.latency_ms > expect.max_latency_ms:
        yield f"took {answer.latency_ms:.1f} ms, expected at most {expect.max_latency_ms:g}"


def _named(items: Sequence[str]) -> str:
    rest = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + rest


def _storable(failure: str) -> str:
    """What a function raised may be of any length, and hold what PostgreSQL stores in no text."""
    return failure[:_LONGEST_FAILURE].replace("\0", "")
