"""One look at an avatar's list, held against the list before and against what is expected. Pure."""

from collections.abc import Iterator

from app.avatars.shape import Expectation
from app.preview import ArmPreview
from app.store.avatars import Before, Look
from monitoring.overlap import OVERLAPS

__all__ = ["judged"]

# Of ids that a fault names.
_NAMED = 5


def judged(expect: Expectation, answer: ArmPreview, before: Before) -> Look:
    """What is to be stored of an answer.

    A list is compared with the last one that the arm answered with: an answer that failed in between is no list.
    """
    items = tuple(item.item_id for item in answer.items)
    overlap, came, went = None, None, None
    if answer.failure is None and before.items is not None:
        # Two answers without items are alike when their payloads are.
        is_constant = not items and not before.items
        overlap = (
            float(answer.payload == before.payload) if is_constant else OVERLAPS[expect.overlap](before.items, items)
        )
        came = tuple(item for item in items if item not in before.items)
        went = tuple(item for item in before.items if item not in items)
    fault = "; ".join(_faults(expect, answer, items, overlap)) or None
    return Look(
        arm=answer.arm,
        items=items,
        payload=answer.payload,
        latency_ms=answer.latency_ms,
        failure=answer.failure,
        overlap=overlap,
        came=came,
        went=went,
        fault=fault,
        faults=before.faults + 1 if fault else 0,
    )


def _faults(expect: Expectation, answer: ArmPreview, items: tuple[str, ...], overlap: float | None) -> Iterator[str]:
    if answer.failure is not None:
        yield f"no list: {answer.failure}"
        return
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


def _named(items: list[str]) -> str:
    rest = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + rest
