"""Collects a log row by row, and everything that is wrong with it."""

import math
from array import array
from collections.abc import Sequence

import numpy as np

from app.errors import Fault, InvalidInput
from bandits.log import Log

__all__ = ["Collector"]

_SHOWN = 20  # faults told in full; the rest are counted


class Collector:
    """Checks rows as they come; a log comes out of it only if all of them are right.

    Args:
        place: what the number of a row counts, as "line".
        position: keep only rows with this value in their fourth field; None: keep all, and expect three.
    """

    def __init__(self, place: str, position: int | None = None) -> None:
        self._place, self._position = place, position
        self._codes: dict[str, int] = {}
        self._action, self._reward, self._propensity = array("q"), array("d"), array("d")
        self._faults: list[Fault] = []
        self._n_faults = 0

    def add(self, number: int, fields: Sequence[object]) -> None:
        """Take one row: arm, reward, propensity, and position when one is wanted."""
        try:
            if self._position is not None and _number("position", fields[3]) != self._position:
                return
            arm, reward, propensity = _arm(fields[0]), _number("reward", fields[1]), _number("propensity", fields[2])
            if not 0 < propensity <= 1:
                raise ValueError(f"the propensity is {propensity:g}; it lies above 0 and is at most 1")  # noqa: TRY301
        except ValueError as error:
            self.refuse(number, str(error))
            return
        self._action.append(self._codes.setdefault(arm, len(self._codes)))
        self._reward.append(reward)
        self._propensity.append(propensity)

    def refuse(self, number: int, why: str) -> None:
        """Note that a row is wrong."""
        self._n_faults += 1
        if len(self._faults) < _SHOWN:
            self._faults.append(Fault(f"{self._place} {number}", why))

    def log(self, declared: Sequence[str] = ()) -> Log:
        """The log of all rows.

        Args:
            declared: arms that exist, whether or not they were ever chosen.

        Raises:
            InvalidInput: rows are wrong, or there is none.
        """
        if self._faults:
            raise InvalidInput(*self._faults, detail=self._told())
        if not self._action:
            none = "row" if self._position is None else f"row of position {self._position}"
            raise InvalidInput(detail=f"The log holds no {none}")
        logged = list(self._codes)
        arms = sorted({*logged, *declared}, key=_order)
        index = {arm: i for i, arm in enumerate(arms)}
        return Log(
            arms=tuple(arms),
            action=np.array([index[arm] for arm in logged])[np.asarray(self._action)],
            reward=np.asarray(self._reward),
            propensity=np.asarray(self._propensity),
        )

    def _told(self) -> str:
        lines = [f"{fault.pointer}: {fault.detail}" for fault in self._faults]
        more = self._n_faults - len(lines)
        return "\n".join([f"{self._n_faults:,} rows are wrong", *lines, *([f"and {more:,} more"] if more else [])])


def _arm(value: object) -> str:
    # Parquet keeps whole numbers beside nulls as floats: 3.0 is the arm "3".
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if value is None or not text:
        raise ValueError("the arm is missing")
    if "\ufffd" in text:
        raise ValueError(f"the arm {text!r} is no UTF-8")
    return text


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # whatever a file holds; what is no number raises
    except (TypeError, ValueError):
        raise ValueError(f"the {name} is {value!r}, not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"the {name} is {value!r}, not a finite number")
    return number


def _order(arm: str) -> tuple[bool, int, str]:
    """Numbers by size, then everything else by name."""
    is_number = arm.isascii() and arm.isdecimal() and len(arm) < 20
    return not is_number, int(arm) if is_number else 0, arm
