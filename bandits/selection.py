"""Choosing an arm from probabilities: at a uniform number, or by a race of hashes that sticks to a unit."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bandits.statistics import FloatArray, frozen

HashArray = npt.NDArray[np.uint64]

_LENGTH_BYTES: Final = 8

# Of SplitMix64; made once because making a numpy scalar costs as much as using it.
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_FIRST_FACTOR: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR: Final = np.uint64(0x94D049BB133111EB)

# 52 bits and a half: never 0, never 1, and each value is exact.
_DROPPED_BITS: Final = np.uint64(12)
_UNIT: Final = 2.0**-52


def cumulative(probabilities: FloatArray) -> tuple[float, ...]:
    """Running sums of probabilities, for `uniform_choice`.

    From the last arm with a positive probability onwards they are exactly 1, whatever rounding left, so no
    uniform number can fall behind the end or on an arm of probability 0.

    Args:
        probabilities: shape (n_arms,), 0 or more, sum 1 within 1e-9.

    Raises:
        ValueError: when they are no probabilities.
    """
    _refuse_improper(probabilities)
    sums = np.cumsum(probabilities)
    sums[np.flatnonzero(probabilities)[-1] :] = 1.0
    return tuple(np.minimum(sums, 1.0).tolist())


def uniform_choice(cumulative: Sequence[float], u: float) -> int:
    """The arm that a uniform number falls on: the first i with Σ_{j≤i} p_j > u.

    Args:
        cumulative: made by `cumulative`, n_arms numbers.
        u: uniform number within [0, 1).

    Returns:
        Index of the arm, which has a positive probability.
    """
    return bisect_right(cumulative, u)


def unit_interval(salt: bytes, *parts: str | bytes) -> float:
    """A hash of salt and parts as a number within [0, 1): uniform over inputs, the same for equal inputs.

    Parts are joined with their lengths, so ("ab", "c") and ("a", "bc") differ. Of the 64-bit BLAKE2b hash the
    upper 53 bits are used, as many as a float holds.
    """
    digest = hashlib.blake2b(_joined(salt, *parts), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


@dataclass(frozen=True, eq=False)
class StickyRace:
    """An exponential race between arms, the same for a unit each time: argmin_i −ln(u_i)/p_i.

    u_i = hash64(salt, experiment, unit, arm) as a number within (0, 1), so −ln(u_i)/p_i is exponential with
    rate p_i, and arm i wins with probability exactly p_i over units. When p changes to p′, a unit leaves arm
    i for arm j only if p′_j/p_j > p′_i/p_i; nobody leaves the arm whose share grew by the largest factor. The
    part of units that stay is Σ_i 1 / Σ_j max(p_j/p_i, p′_j/p′_i).

    Source: Moulton and Jiang, "Maximally consistent sampling and the Jaccard index of probability
    distributions" (2018): no method that knows only p lets more units stay, for all pairs (p, p′) at once.

    Attributes:
        arm_hashes: of salt, experiment and arm, shape (n_arms,).
        inverse_probabilities: 1/p_i, shape (n_arms,), inf for an arm that must not win.
        prefix: hash state of salt and experiment, which units continue.
    """

    arm_hashes: HashArray
    inverse_probabilities: FloatArray
    prefix: bytes

    @classmethod
    def of(cls, *, salt: bytes, experiment: str, arms: Sequence[str], probabilities: FloatArray) -> StickyRace:
        """The race of an experiment's arms.

        Raises:
            ValueError: when there is not one probability per arm, or they are no probabilities.
        """
        _refuse_improper(probabilities)
        if len(arms) != len(probabilities):
            raise ValueError(f"{len(arms)} arms need one probability each, got {len(probabilities)}")
        with np.errstate(divide="ignore"):
            inverse = frozen(1 / np.asarray(probabilities))
        prefix = _joined(salt, experiment)
        hashes = np.array([_hash(prefix, b"arm", arm) for arm in arms], dtype=np.uint64)
        hashes.setflags(write=False)
        return cls(hashes, inverse, prefix)

    def choose(self, unit: str) -> int:
        """Index of the arm that `unit` gets."""
        return int(np.argmin(self.times(np.uint64(self.unit_hash(unit)))))

    def unit_hash(self, unit: str) -> int:
        """64-bit hash of salt, experiment and unit."""
        return _hash(self.prefix, b"unit", unit)

    def times(self, unit_hashes: np.uint64 | HashArray) -> FloatArray:
        """When each arm arrives, per unit: `unit_hashes` of shape (..., 1), result (..., n_arms)."""
        mixed = _mix(_mix(unit_hashes ^ self.arm_hashes) + self.arm_hashes)
        uniform = ((mixed >> _DROPPED_BITS).astype(np.float64) + 0.5) * _UNIT
        times: FloatArray = -np.log(uniform) * self.inverse_probabilities
        return times


def sticky_choice(race: StickyRace, unit: str) -> int:
    """Index of the arm that `unit` gets, the same each time for the same race."""
    return race.choose(unit)


def _refuse_improper(probabilities: FloatArray) -> None:
    total = float(np.sum(probabilities))
    if not (abs(total - 1) <= 1e-9 and np.min(probabilities) >= 0):
        raise ValueError(f"probabilities must be 0 or more and sum to 1, got a sum of {total}")


def _joined(*parts: str | bytes) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "little") + part for part in encoded)


def _hash(prefix: bytes, *parts: str | bytes) -> int:
    return int.from_bytes(hashlib.blake2b(prefix + _joined(*parts), digest_size=8).digest(), "little")


def _mix(x: HashArray) -> HashArray:
    """The finaliser of SplitMix64, in which every bit moves every bit (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> _30)) * _FIRST_FACTOR
    x = (x ^ (x >> _27)) * _SECOND_FACTOR
    return x ^ (x >> _31)
