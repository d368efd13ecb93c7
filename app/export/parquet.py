"""Writes all decisions as Parquet. Imported only for that format, because pyarrow is optional."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["schema", "write"]

_KEY = pa.dictionary(pa.int32(), pa.string())  # few different values, however many rows
_COLUMNS = {
    "decision_id": pa.string(),
    "decided_at": pa.timestamp("us", tz="UTC"),
    "unit": pa.string(),
    "context": pa.string(),  # JSON
    "arm": _KEY,
    "served_arm": _KEY,
    "propensity": pa.float64(),
    "allocation": pa.int32(),
    "epoch": pa.int32(),
    "reason": _KEY,
    "learnable": pa.bool_(),
    "items": pa.list_(pa.string()),
    "mature": pa.bool_(),
    "counts": pa.bool_(),
    "reward": pa.float64(),
}

Probabilities = Callable[[Iterable[int]], Mapping[int, Mapping[str, float]]]


def schema(metrics: Sequence[str]) -> pa.Schema:
    """The columns of a file: those of decisions, the outcome of each metric, and the allocation's probabilities."""
    outcomes = {f"outcome_{metric}": pa.float64() for metric in metrics}
    return pa.schema({**_COLUMNS, **outcomes, "probabilities": _KEY})  # JSON: arms may differ between allocations


def write(
    path: Path, pieces: Iterable[Sequence[Mapping[str, Any]]], metrics: Sequence[str], probabilities_of: Probabilities
) -> Iterator[tuple[int, datetime]]:
    """Writes each piece as a row group; tells after each how many rows it had and when its last was decided.

    Args:
        path: of the file.
        pieces: decisions, as `app.store.log.stream` gives them.
        metrics: whose outcomes to write.
        probabilities_of: the probabilities of all arms in the allocations with these numbers.
    """
    columns = schema(metrics)
    with pq.ParquetWriter(path, columns, compression="zstd") as file:
        for piece in pieces:
            allocations = probabilities_of({row["allocation"] for row in piece})
            texts = {number: msgspec.json.encode(shares).decode() for number, shares in allocations.items()}
            file.write_table(pa.table(_arrays(piece, columns, metrics, texts), columns))
            yield len(piece), piece[-1]["decided_at"]


def _arrays(
    piece: Sequence[Mapping[str, Any]], columns: pa.Schema, metrics: Sequence[str], probabilities: Mapping[int, str]
) -> list[Any]:
    outcomes = [row["outcomes"] for row in piece]
    values = {
        **{name: [row[name] for row in piece] for name in _COLUMNS},
        **{f"outcome_{metric}": [found.get(metric) for found in outcomes] for metric in metrics},
        "probabilities": [probabilities.get(row["allocation"]) for row in piece],
    }
    return [pa.array(values[field.name], field.type) for field in columns]
