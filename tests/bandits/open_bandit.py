"""The Open Bandit Dataset and the reference values that obp computed from it; see data/open-bandit/README.md."""

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parents[2] / "data" / "open-bandit"
CAMPAIGNS = {"all": 80, "men": 34, "women": 46}
N_POSITIONS = 3

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


def reference() -> dict[str, Any]:
    """Campaign → block (as `random_to_bts`) → weights, estimators."""
    campaigns: dict[str, Any] = json.loads((DATA / "reference.json").read_text())["campaigns"]
    return campaigns


@dataclass(frozen=True, kw_only=True)
class Case:
    """One block of the reference: a log, a target policy and the reward models."""

    action: Integers
    position: Integers
    reward: Floats
    propensity: Floats
    policy: Floats  # π(a, position), shape (n_arms, 3)
    fitted: Floats | None = None  # q̂ by logistic regression at the row's position, shape (n, n_arms)

    @classmethod
    def of(cls, campaign: str, block: str) -> Self:
        """The block of that name: `<logging>_to_<target>`, all slots or `_position1`."""
        behaviour, _, rest = block.partition("_to_")
        target, _, position = rest.partition("_position")
        case = cls.read(campaign, behaviour, target)
        return case.at_position(int(position) - 1) if position else case

    @classmethod
    def read(cls, campaign: str, behaviour: str, target: str) -> Self:
        """All slots."""
        with gzip.open(DATA / behaviour / campaign / f"{campaign}.csv.gz", "rt", newline="") as file:
            rows = [
                (row["item_id"], row["position"], row["click"], row["propensity_score"]) for row in csv.DictReader(file)
            ]
        action, position, reward, propensity = np.array(rows, dtype=np.float64).T
        position = position.astype(np.intp) - 1
        return cls(
            action=action.astype(np.intp),
            position=position,
            reward=reward,
            propensity=propensity,
            policy=_policy(campaign, target),
            fitted=_fitted(behaviour, campaign, position),
        )

    def at_position(self, position: int) -> Self:
        """One slot only."""
        kept = self.position == position
        fitted = None if self.fitted is None else self.fitted[kept]
        columns = {name: getattr(self, name)[kept] for name in ("action", "position", "reward", "propensity")}
        return type(self)(**columns, policy=self.policy, fitted=fitted)

    @property
    def pi(self) -> Floats:
        """π(a|x), shape (n, n_arms)."""
        return np.asarray(self.policy.T[self.position])

    @property
    def target(self) -> Floats:
        """π of the logged arm, shape (n,)."""
        return np.asarray(self.policy[self.action, self.position])

    @property
    def log(self) -> tuple[Floats, Floats, Floats]:
        """Reward, propensity and target: what every weighted estimator starts with."""
        return self.reward, self.propensity, self.target

    def model(self, name: str) -> Floats:
        """q̂(x, a), shape (n, n_arms), by the reward model of that name in the reference."""
        if name == "logreg_cf3":
            assert self.fitted is not None
            return self.fitted
        cell = self.action * N_POSITIONS + self.position
        n, clicks = (
            np.bincount(cell, weights=weights, minlength=self.policy.size).reshape(self.policy.shape)
            for weights in (None, self.reward)
        )
        table = (clicks + 10 * self.reward.mean()) / (n + 10)
        return np.asarray(table.T[self.position])


def _policy(campaign: str, target: str) -> Floats:
    n_arms = CAMPAIGNS[campaign]
    if target == "random":
        return np.full((n_arms, N_POSITIONS), 1 / n_arms)
    with (DATA / "reference" / f"action_dist_bts_{campaign}.csv").open(newline="") as file:
        counts = [float(row["count"]) for row in csv.DictReader(file)]
    return np.array(counts).reshape(n_arms, N_POSITIONS) / 100_000


def _fitted(behaviour: str, campaign: str, position: Integers) -> Floats | None:
    path = DATA / "reference" / f"qhat_lr_{behaviour}_{campaign}.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        table, row = arrays["table"], arrays["row_to_table"]
    return np.asarray(table[row, :, position])
