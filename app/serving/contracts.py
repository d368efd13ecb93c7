"""What events are judged by, remembered: an epoch's contract never changes, but that metrics are added to it."""

from collections.abc import Collection, Mapping

from app.specification import Contract
from app.store import contracts as store
from app.store.contracts import EpochKey
from app.store.database import Cursor

__all__ = ["Contracts"]


class Contracts:
    """The contracts that this process has met."""

    def __init__(self) -> None:
        self._known: dict[EpochKey, Contract] = {}

    def of(self, cursor: Cursor, keys: Collection[EpochKey]) -> Mapping[EpochKey, Contract]:
        """The contracts of these epochs, among others."""
        missing = [key for key in keys if key not in self._known]
        return self.read_again(cursor, missing) if missing else self._known

    def read_again(self, cursor: Cursor, keys: Collection[EpochKey]) -> Mapping[EpochKey, Contract]:
        """The same, as they are by now: metrics may have been added."""
        self._known |= store.read(cursor, keys)
        return self._known
