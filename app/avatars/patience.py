"""Calls that may never return, waited for so long and no longer."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

__all__ = ["Patience"]

T = TypeVar("T")


class Patience(Generic[T]):
    """Makes calls in threads of their own, one after the other. They are daemons: a process can end without them.

    Args:
        seconds: how long to wait for one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[Hashable, Future[T]] = {}

    def call(self, key: Hashable, function: Callable[[], T]) -> T:
        """What a function returns. While an earlier call with the same key goes on, none is added to it.

        Raises:
            TimeoutError: it has not returned.
        """
        earlier = self._open.get(key)
        if earlier is not None and not earlier.done():
            raise TimeoutError("what it was asked before has not returned yet")
        future = self._open[key] = Future[T]()
        threading.Thread(target=_run, args=(future, function), name="patience", daemon=True).start()
        if not wait([future], self._seconds).done:
            raise TimeoutError(f"it has not returned within {self._seconds:g} s")
        del self._open[key]
        return future.result()


def _run(future: "Future[T]", function: Callable[[], T]) -> None:
    try:
        future.set_result(function())
    except Exception as error:  # noqa: BLE001 - it belongs to the caller
        future.set_exception(error)
    except BaseException as error:  # noqa: BLE001 - as SystemExit: the caller's thread must not end by it
        future.set_exception(RuntimeError(repr(error)))
