"""Reads a log from a file, whatever its format: CSV, gzipped CSV or Parquet, told apart by their first bytes."""

import gzip
import importlib
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from app.errors import InvalidInput
from app.evaluation import comma_separated
from app.evaluation.collector import Collector
from app.evaluation.columns import Columns
from bandits.log import Log

__all__ = ["read_log"]

_ALL = Columns()


def read_log(path: Path, *, columns: Columns = _ALL, position: int | None = None, arms: Sequence[str] = ()) -> Log:
    """The log in a file. Rows are checked as they are read; memory holds 24 bytes of each.

    Args:
        path: of a CSV file with a header, plain or gzipped, or of a Parquet file.
        columns: which columns to read.
        position: only rows with this value in the column `position`; None: all.
        arms: keys of arms that exist, whether or not they were ever chosen.

    Raises:
        InvalidInput: the file cannot be read, lacks a column, or has rows that are wrong, each told by its line.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PAR1":
                return _read_parquet(file, columns, position, arms)
            return _read_csv(file, columns, position, arms, zipped=start[:2] == b"\x1f\x8b")
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(detail=f"{path} cannot be read: {error}") from error


def _read_csv(file: BinaryIO, columns: Columns, position: int | None, arms: Sequence[str], *, zipped: bool) -> Log:
    collector = Collector("line", position)
    # Bytes that are no UTF-8 matter in the arm's column only; there the collector refuses what replaces them.
    with gzip.GzipFile(fileobj=file) if zipped else file as unzipped:
        text = io.TextIOWrapper(unzipped, encoding="utf-8-sig", errors="replace", newline="")
        comma_separated.collect(text, columns, collector, position=position is not None)
    return collector.log(arms)


def _read_parquet(file: BinaryIO, columns: Columns, position: int | None, arms: Sequence[str]) -> Log:
    try:
        # Only here: the reader needs an optional package, and loading it takes a while.
        parquet = importlib.import_module("app.evaluation.parquet")
    except ImportError as error:
        raise InvalidInput(
            detail="Parquet needs the package pyarrow: install it with `pip install 'croupier[parquet]'`, or give a CSV"
        ) from error
    collector = Collector("row", position)
    parquet.collect(file, columns, collector, position=position is not None)
    return collector.log(arms)
