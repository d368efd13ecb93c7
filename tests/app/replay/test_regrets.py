import io

import numpy as np
import pytest
from rich.console import Console

from app.replay.regrets import HeadlineResult, regret_lines, regret_table
from app.replay.upworthy import HeadlineTest

TEST = HeadlineTest("5314692e5187adda77000006", ("good", "bad"), impressions=(100, 100), clicks=(10, 2))


def result(*course: tuple[int, int]) -> HeadlineResult:
    """A test of which these were the pulls, batch by batch."""
    return HeadlineResult(TEST, np.array(course).reshape(-1, 2))


def test_regret_is_tallied_from_rates() -> None:
    """By hand: 200 bad headlines lose 0.08 clicks each, where 1,000 dealt equally lose 0.04 each."""
    made = result((100, 100), (800, 200))
    assert made.decisions == 1000
    assert [made.regret, made.uniform_regret] == pytest.approx([16, 40])
    assert made.ratio == pytest.approx(0.4)


def test_early_ratio_is_that_at_the_tests_own_impressions() -> None:
    """The batch in which the 200th decision was counts, wherever the replay went from there."""
    assert result((60, 40), (130, 120), (900, 100)).early_ratio == pytest.approx(120 * 0.08 / (250 * 0.04))
    assert result((60, 40)).early_ratio is None


def test_nothing_yet_is_none() -> None:
    """A replay that was interrupted at once has no ratio, and can be printed."""
    empty = result()
    assert (empty.decisions, empty.regret, empty.ratio, empty.early_ratio) == (0, 0, None, None)
    Console(file=io.StringIO()).print(regret_table([empty]))
    assert regret_lines([empty]).startswith("0 of 1 tests end")


def test_tests_below_half_of_uniforms_regret_are_counted() -> None:
    """Half itself is not below half; early and final counts differ."""
    results = [result((100, 100), (800, 200)), result((150, 50), (750, 250)), result((190, 10), (190, 810))]
    assert regret_lines(results) == (
        "1 of 3 tests end with regret below half of uniform's; after their own numbers of impressions 1 were there"
    )


def test_table_has_a_row_for_each_test() -> None:
    """Figures by column, in 80 columns."""
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(regret_table([result((100, 100), (800, 200))]))
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["5314692e5187", "2", "10.00%", "1,000", "16", "40", "0.40", "200", "1.00"] in rows
