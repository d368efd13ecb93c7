"""Runs every benchmark: `make bench`. Each prints its table and leaves its figures in benchmarks/results/."""

import sys

from benchmarks import choose, drift, growth, quality, serving

_ALL = (choose.main, quality.main, drift.main, serving.main, growth.main)


def main() -> int:
    """The exit code: 1 when any benchmark missed a bar."""
    return max(benchmark() for benchmark in _ALL)


if __name__ == "__main__":
    sys.exit(main())
