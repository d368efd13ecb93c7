"""Regret of replayed headline tests, against the best headline and against dealing all equally."""

from collections.abc import Sequence

import msgspec
from rich import box
from rich.table import Table

from app.replay.upworthy import Draw, HeadlineTest, policy
from bandits.simulation import IntArray, regret, uniform_regret

__all__ = ["HeadlineResult", "regret_lines", "regret_table", "settings_line"]

BAR = 0.5


class HeadlineResult(msgspec.Struct, frozen=True):
    """What was dealt in one test.

    Regret is expected regret, Σ (p* − p) over the decisions: the luck of the clicks is not in it.
    """

    test: HeadlineTest
    course: IntArray  # pulls of each arm so far, shape (n_batches, n_arms)

    @property
    def decisions(self) -> int:
        """How many there were."""
        return int(self.course[-1].sum()) if self.course.size else 0

    @property
    def regret(self) -> float:
        """Clicks lost against the best headline."""
        return float(regret(self.course[-1], self.test.rates)) if self.course.size else 0.0

    @property
    def uniform_regret(self) -> float:
        """What dealing all equally would have lost."""
        return uniform_regret(self.test.rates, self.decisions)

    @property
    def ratio(self) -> float | None:
        """Regret as a share of uniform's; None without decisions."""
        return self.ratio_after(self.decisions)

    @property
    def early_ratio(self) -> float | None:
        """The same after as many decisions as the test had impressions; None if there were not so many."""
        return self.ratio_after(sum(self.test.impressions))

    def ratio_after(self, decisions: int) -> float | None:
        """Regret as a share of uniform's at the end of the batch in which that decision was; None if there is none."""
        totals = self.course.sum(axis=1)
        step = int(totals.searchsorted(decisions))
        if not 0 < decisions <= self.decisions:
            return None
        return float(regret(self.course[step], self.test.rates)) / uniform_regret(self.test.rates, int(totals[step]))


def regret_table(results: Sequence[HeadlineResult]) -> Table:
    """One row a test: `early` is the ratio after as many decisions as the test had impressions."""
    drawn = Table(title="Regret, in clicks", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("test")
    for heading in ("arms", "best", "decisions", "regret", "uniform's", "ratio", "impressions", "early"):
        drawn.add_column(heading, justify="right")
    for result in results:
        drawn.add_row(
            result.test.test_id[:12],
            str(len(result.test.headlines)),
            f"{result.test.rates.max():.2%}",
            f"{result.decisions:,}",
            f"{result.regret:,.0f}",
            f"{result.uniform_regret:,.0f}",
            _ratio(result.ratio),
            f"{sum(result.test.impressions):,}",
            _ratio(result.early_ratio),
        )
    return drawn


def regret_lines(results: Sequence[HeadlineResult]) -> str:
    """How many tests end below half of uniform's regret, and how many were there early."""
    end = _below([result.ratio for result in results])
    early = _below([result.early_ratio for result in results])
    return (
        f"{end} of {len(results)} tests end with regret below half of uniform's; "
        f"after their own numbers of impressions {early} were there"
    )


def settings_line(draw: Draw, how: str) -> str:
    """What was the same for all tests."""
    p = policy()
    rewards = {"rate": "drawn from each arm's rate", "counts": "drawn from each arm's counts without replacement"}
    return (
        f"{how}; clicks {rewards[draw]}; policy {p.kind}, prior Beta(1, 1), warm-up {p.warm_up}, "
        "floor min(0.01, 0.1/arms): the service's defaults"
    )


def _below(ratios: Sequence[float | None]) -> int:
    return sum(ratio is not None and ratio < BAR for ratio in ratios)


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
