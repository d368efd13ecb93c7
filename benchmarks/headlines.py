"""Do real headline tests end well? The twenty of `data/upworthy/bench_tests.csv`, dealt in process.

Run with `python -m benchmarks.headlines`; it takes half a minute. The same as `croupier replay upworthy --all
--in-process`: the service's default policy, clicks drawn from each arm's rate, 500,000 decisions a test. Ends with exit
code 1 when fewer than nineteen tests lose less than half of what dealing all headlines equally loses. With other seeds
than this one, 1 of 40 runs did.
"""

import sys
from typing import Final

from app.replay import HeadlineOptions, read_tests, simulate_upworthy
from app.replay.regrets import BAR
from benchmarks.results import save

_SEED: Final = 1
_ENOUGH: Final = 19


def main() -> int:
    """The exit code."""
    ratios = {r.test.test_id: r.ratio for r in simulate_upworthy(read_tests(), HeadlineOptions(seed=_SEED))}
    learned = sum(ratio is not None and ratio < BAR for ratio in ratios.values())
    save("headlines", {"ratios": ratios, "below_half": learned})
    print(f"{learned} of {len(ratios)} tests lose less than half of uniform's regret; required: {_ENOUGH}")
    return int(learned < _ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
