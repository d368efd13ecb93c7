"""Reads Parquet. Imported only when a log is in that format, because pyarrow is optional."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import InvalidInput
from app.evaluation.collector import Collector
from app.evaluation.columns import Columns

__all__ = ["collect"]


def collect(file: BinaryIO, columns: Columns, collector: Collector, *, position: bool) -> None:
    """Put each row of the file into the collector, counted from 1.

    Raises:
        InvalidInput: it is no Parquet, or lacks a column.
    """
    try:
        table = pq.ParquetFile(file)
        names = columns.choose(table.schema_arrow.names, position=position).names
        number = 0
        for batch in table.iter_batches(columns=list(names)):
            for fields in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                number += 1
                collector.add(number, fields)
    except pa.ArrowException as error:
        raise InvalidInput(detail=f"This is no Parquet that can be read: {error}") from error
