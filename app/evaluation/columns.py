"""Which columns of a log mean what."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from app.errors import InvalidInput

__all__ = ["KNOWN_NAMES", "Chosen", "Columns"]

# Names to look for, the first that is there wins: Croupier's own, then those of obp and of the Open Bandit Dataset.
KNOWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "arm": ("arm", "action", "item_id"),
        "reward": ("reward", "click"),
        "propensity": ("propensity", "pscore", "propensity_score"),
    }
)


class Chosen(Struct, frozen=True):
    """Names of the columns to read."""

    arm: str
    reward: str
    propensity: str
    position: str | None  # None: rows of every position

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which `Collector.add` takes their values."""
        named = (self.arm, self.reward, self.propensity)
        return named if self.position is None else (*named, self.position)


class Columns(Struct, frozen=True, kw_only=True):
    """What the caller says about columns; what is None is looked for by `KNOWN_NAMES`."""

    arm: str | None = None
    reward: str | None = None
    propensity: str | None = None

    def choose(self, header: Sequence[str], *, position: bool) -> Chosen:
        """The columns to read from a log with this header.

        Raises:
            InvalidInput: one is missing, or a name occurs twice.
        """
        wanted = {
            meaning: (given,) if (given := getattr(self, meaning)) else KNOWN_NAMES[meaning] for meaning in KNOWN_NAMES
        }
        found = {meaning: _first(meaning, names, header) for meaning, names in wanted.items()}
        return Chosen(**found, position=_first("position", ("position",), header) if position else None)


def _first(meaning: str, names: Sequence[str], header: Sequence[str]) -> str:
    name = next((name for name in names if name in header), None)
    if name is None:
        shown = ", ".join(filter(None, header[:12])) + (", ..." if len(header) > 12 else "")
        raise InvalidInput(detail=f"The log has no column for the {meaning} ({' or '.join(names)}); it has {shown}")
    if header.count(name) > 1:
        raise InvalidInput(detail=f"The log has {header.count(name)} columns named {name!r}; one is needed")
    return name
