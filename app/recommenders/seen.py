"""What a request's context says about the items its user has already seen: `item_id` (now) and `history`."""

from collections.abc import Mapping

from app.recommenders.catalogue import Catalogue
from app.recommenders.values import RecommenderFailed

__all__ = ["MAX_HISTORY", "current_item", "history", "seen_items", "seen_rows"]

MAX_HISTORY = 1000
"""How many items of `context.history` are looked at: the last ones, it goes from old to new."""


def current_item(context: Mapping[str, object]) -> str | None:
    """`context.item_id`, the item that the user is looking at; None when absent or null.

    Raises:
        RecommenderFailed: it is not a string.
    """
    item_id = context.get("item_id")
    if item_id is None or isinstance(item_id, str):
        return item_id
    raise RecommenderFailed(f"context.item_id must be a string, not {type(item_id).__name__}")


def history(context: Mapping[str, object]) -> list[str]:
    """`context.history`, item ids from old to new; the last MAX_HISTORY of them, [] when absent.

    Raises:
        RecommenderFailed: it is not a list of strings.
    """
    listed = context.get("history")
    if listed is None:
        return []
    if not isinstance(listed, list | tuple):
        raise RecommenderFailed(f"context.history must be a list of item ids, not {type(listed).__name__}")
    recent = list(listed[-MAX_HISTORY:])
    for item_id in recent:
        if not isinstance(item_id, str):
            raise RecommenderFailed(f"context.history must hold strings, not {type(item_id).__name__}")
    return recent


def seen_items(context: Mapping[str, object]) -> frozenset[str]:
    """The ids in `item_id` and `history`. What is malformed names no item, and is no reason to fail here."""
    current, listed = context.get("item_id"), context.get("history")
    recent = listed[-MAX_HISTORY:] if isinstance(listed, list | tuple) else ()
    return frozenset(item_id for item_id in (current, *recent) if isinstance(item_id, str))


def seen_rows(context: Mapping[str, object], catalogue: Catalogue) -> frozenset[int]:
    """The catalogue's rows of the items that were seen."""
    rows = catalogue.rows
    return frozenset(rows[item_id] for item_id in seen_items(context) if item_id in rows)
