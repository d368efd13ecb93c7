"""Runs every benchmark: `make bench`. Each prints its table and leaves its figures in benchmarks/results/."""

import sys

from benchmarks import (
    catalogue,
    choose,
    delays,
    detection,
    drift,
    growth,
    headlines,
    hierarchy,
    quality,
    regret,
    serving,
    storage,
    validity,
)

_ALL = (
    choose.main,
    regret.main,
    headlines.main,
    validity.main,
    delays.main,
    quality.main,
    drift.main,
    detection.main,
    hierarchy.main,
    catalogue.main,
    serving.main,
    growth.main,
    storage.main,
)


def main() -> int:
    """The exit code: 1 when any benchmark missed a bar."""
    return max(benchmark() for benchmark in _ALL)


if __name__ == "__main__":
    sys.exit(main())
