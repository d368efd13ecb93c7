"""What events are judged by, remembered: an epoch's contract never changes, but that metrics are added to it."""

from collections.abc import Iterable, Mapping

from app.specification import Contract
from app.store import contracts as store
from app.store.contracts import EpochKey
from app.store.database import Cursor

__all__ = ["Contracts"]


class Contracts:
    """The contracts that this process has met."""

    def __init__(self) -> None:
        self._known: dict[EpochKey, Contract] = {}

    def of(self, cursor: Cursor, wanted: Iterable[tuple[EpochKey, str]]) -> Mapping[EpochKey, Contract]:
        """The contracts of epochs, each wanted for a metric; '' is none.

        A metric that a remembered contract lacks may have been added since, so such a contract is read again.
        """
        missing = {
            key for key, metric in wanted if key not in self._known or (metric and metric not in self[key].metrics)
        }
        if missing:
            self._known |= store.read(cursor, sorted(missing))
        return self._known

    def __getitem__(self, key: EpochKey) -> Contract:
        return self._known[key]
