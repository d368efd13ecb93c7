"""Writes the decisions that count as CSV, with the names of the Open Bandit Pipeline."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

__all__ = ["HEADER", "write"]

HEADER = ("action", "position", "reward", "pscore", "arm")


def write(path: Path, pieces: Iterable[Sequence[sa.RowMapping]], arms: Sequence[str]) -> Iterator[tuple[int, datetime]]:
    """Writes one row for each decision; tells after each piece how many rows it had and when its last was decided.

    `action` is the arm's index in `arms`, `position` is 0: a decision is one slot. Numbers are exact.
    """
    index = {arm: place for place, arm in enumerate(arms)}
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for piece in pieces:
            rows.writerows((index[row["arm"]], 0, row["reward"], row["propensity"], row["arm"]) for row in piece)
            yield len(piece), piece[-1]["decided_at"]
