"""Reads CSV."""

import csv
from typing import TextIO

from app.errors import InvalidInput
from app.evaluation.collector import Collector
from app.evaluation.columns import Columns

__all__ = ["collect"]


def collect(text: TextIO, columns: Columns, collector: Collector, *, position: bool) -> None:
    """Put each row under the header into the collector, counted in lines of the file. Empty lines are skipped.

    Raises:
        InvalidInput: it is no CSV, or lacks a column.
    """
    rows = csv.reader(text, strict=True)
    try:
        header = next(rows, [])
        places = [header.index(name) for name in columns.choose(header, position=position).names]
        for fields in rows:
            if len(fields) == len(header):
                collector.add(rows.line_num, [fields[place] for place in places])
            elif fields:
                collector.refuse(rows.line_num, f"there are {len(fields)} fields, and {len(header)} in the header")
    except csv.Error as error:
        raise InvalidInput(detail=f"line {rows.line_num}: this is no CSV: {error}") from error
