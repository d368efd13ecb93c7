"""The data and the values of data/recsys-reference, which other libraries computed."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.popularity import Popularity

_FOLDER = Path(__file__).parents[2] / "data" / "recsys-reference"
_NUMBERS = {"score", "score_stable", "price", "n_sessions"}

REFERENCE: dict[str, Any] = json.loads((_FOLDER / "reference.json").read_text())
N_ITEMS = 60


@dataclass(frozen=True, eq=False)
class Run:
    """Lists of one file, and what each is judged by."""

    lists: npt.NDArray[np.int64]
    relevant: list[set[int]]
    history: list[set[int]]
    popularity: Popularity
    vectors: npt.NDArray[np.float64]


def run(name: str) -> Run:
    """The lists of NAME.csv, one per user in it."""
    items = _rows("items")
    index = {row["item_id"]: at for at, row in enumerate(items)}
    truth, train = (_by_user(file, index) for file in ("truth", "train"))
    rows = _rows(name)
    users = sorted({row["user_id"] for row in rows})
    lists = np.full((len(users), 10), -1)
    for row in rows:
        lists[users.index(row["user_id"]), int(row["rank"]) - 1] = index[row["item_id"]]
    return Run(
        lists=lists,
        relevant=[truth.get(user, set()) for user in users],
        history=[train.get(user, set()) for user in users],
        popularity=Popularity.of(list(train.values()), n_items=N_ITEMS),
        vectors=np.array([[float(row[f"f{at}"]) for at in range(6)] for row in items]),
    )


def window(name: str) -> dict[str, list[float | str | None]]:
    """The features of drift_NAME.csv."""
    rows = _rows(f"drift_{name}")
    return {feature: [_value(feature, row[feature]) for row in rows] for feature in rows[0]}


def _value(feature: str, text: str) -> float | str | None:
    if not text:
        return None
    return float(text) if feature in _NUMBERS else text


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def _by_user(name: str, index: dict[str, int]) -> dict[str, set[int]]:
    sets: dict[str, set[int]] = {}
    for row in _rows(name):
        sets.setdefault(row["user_id"], set()).add(index[row["item_id"]])
    return sets
