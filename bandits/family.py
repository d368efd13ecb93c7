"""What the posteriors of all families have in common: vectors of parameters, one entry per arm."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from bandits.densities import Densities
from bandits.quantiles import quantile
from bandits.statistics import FloatArray, frozen


@dataclass(frozen=True, eq=False)
class Family(Densities):
    """Independent distributions of one family, one per arm.

    Fields of subclasses that are arrays are the parameters, of shape (n_arms,); other fields hold for all arms.
    Subclasses describe their densities (see bandits/densities.py), moments and draws.
    """

    def __post_init__(self) -> None:
        for name in self._names:
            object.__setattr__(self, name, frozen(getattr(self, name)))
        shapes = {name: vector.shape for name, vector in self.parameters.items()}
        if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
            described = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{described} need one entry per arm each")

    @property
    def n_arms(self) -> int:
        """Number of arms."""
        return int(getattr(self, self._names[0]).size)

    @property
    def parameters(self) -> dict[str, FloatArray]:
        """The parameters by name, ndarrays of shape (n_arms,)."""
        return {name: getattr(self, name) for name in self._names}

    def as_mapping(self, arm: int) -> dict[str, float]:
        """The parameters of one arm, fit for JSON."""
        return {name: float(vector[arm]) for name, vector in self.parameters.items()}

    def select(self, indices: npt.NDArray[np.intp]) -> Self:
        """The posterior of some arms, in the order of `indices`."""
        return replace(self, **{name: vector[indices] for name, vector in self.parameters.items()})

    def quantile(self, probability: float) -> FloatArray:
        """The mean reward below which each θ lies with `probability` (1e-6 to 1 − 1e-6), shape (n_arms,)."""
        return quantile(self, probability)

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Equal-tailed credible interval (lower, upper), shape (n_arms,) each; `level` as 0.95."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self) if field.type == "FloatArray")
