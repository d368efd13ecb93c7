"""Python functions as recommenders: only those that the service's settings name."""

import importlib
from collections.abc import Callable, Iterable
from functools import reduce
from importlib.metadata import entry_points
from typing import Any, TypeAlias

from app.recommenders.values import RecommenderFailed

__all__ = ["GROUP", "Function", "PythonFunctions"]

GROUP = "croupier.recommenders"
"""The group of entry points that a target without a colon is looked up in."""

Function: TypeAlias = Callable[..., Iterable[Any]]


class PythonFunctions:
    """The functions of this process, imported when they are first asked for.

    An API key must not be able to run whatever can be imported: a target is allowed by who runs the service.

    Args:
        allowed: targets, `module:callable` or an entry point's name.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._found: dict[str, Function | RecommenderFailed] = {}

    @classmethod
    def from_setting(cls, targets: str | None) -> "PythonFunctions":
        """Those that a comma-separated list allows."""
        return cls(target for part in (targets or "").split(",") if (target := part.strip()))

    def get(self, target: str) -> Function:
        """One function.

        Raises:
            RecommenderFailed: it is not allowed, or cannot be had. That is not tried again: Python keeps what half an
                import has left.
        """
        if target not in self._allowed:
            raise RecommenderFailed(f"{target!r} is not among CROUPIER_PYTHON_RECOMMENDERS, which names what may run")
        if target not in self._found:
            self._found[target] = _imported(target)
        found = self._found[target]
        if isinstance(found, RecommenderFailed):
            raise RecommenderFailed(found.reason)
        return found


def _imported(target: str) -> Function | RecommenderFailed:
    try:
        found = _looked_up(target)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may do anything while it is imported
        return RecommenderFailed(f"{target!r} cannot be imported: {type(error).__name__}: {error}")
    return found if callable(found) else RecommenderFailed(f"{target!r} is a {type(found).__name__}, not a function")


def _looked_up(target: str) -> Any:  # noqa: ANN401 - anything can be there
    module, colon, name = target.partition(":")
    if colon:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    points = entry_points(group=GROUP, name=target)
    if not points:
        raise LookupError(f"no installed package has such an entry point of group {GROUP}")
    return next(iter(points)).load()
