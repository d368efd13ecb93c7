import pytest

from app.replay.client import ArmReport, Decision
from app.replay.tally import Tally


def test_nothing_yet_is_none() -> None:
    """Without decisions there are no shares and no rates, and no best arm."""
    result = Tally(["a", "b"]).result()
    assert [row.arm for row in result.arms] == ["a", "b"]
    assert (result.arms[0].share, result.arms[0].reward_rate, result.best_arm) == (None, None, None)
    assert (result.best_share_10s, result.best_share_1000) == (None, None)


def test_counts_by_arm() -> None:
    """Shares are of all decisions, rates of the arm's own; the highest rate is taken as best."""
    tally = Tally(["a", "b"])
    for number in range(8):
        tally.decided(Decision(str(number), "a" if number < 6 else "b"), clicked=number in {0, 1, 2, 6, 7})
    tally.fed_back(["accepted", "accepted", "duplicate"])
    result = tally.result(expected={"a": 0.4})
    first, second = result.arms
    assert (first.decisions, first.share, first.clicks, first.reward_rate) == (6, 0.75, 3, 0.5)
    assert (second.decisions, second.share, second.reward_rate) == (2, 0.25, 1.0)
    assert (first.expected, second.expected) == (0.4, None)
    assert (result.best_arm, result.best_share_10s, result.best_share_1000) == ("b", 0.25, 0.25)
    assert result.feedback == {"accepted": 2, "duplicate": 1}


def test_the_service_says_which_arm_is_best() -> None:
    """P(best) decides before the client's own counts."""
    tally = Tally(["a", "b"])
    tally.decided(Decision("1", "a"), clicked=True)
    result = tally.result(reports={"b": ArmReport("b", 0.9), "a": ArmReport("a", 0.1)})
    assert (result.best_arm, result.best_share_1000) == ("b", 0.0)
    assert result.arms[1].probability_best == 0.9


def test_a_fallback_is_no_merit_of_the_arm() -> None:
    """A fallback counts as a decision of its arm, but neither its click nor its miss changes the rate."""
    tally = Tally(["a"])
    tally.decided(Decision("1", "a", reason="fallback"), clicked=True)
    tally.decided(Decision("2", "a", durability="spooled"), clicked=False)
    result = tally.result()
    assert (result.arms[0].decisions, result.arms[0].clicks, result.arms[0].reward_rate) == (2, 0, 0.0)
    assert (result.fallbacks, result.spooled) == (1, 1)


def test_recent_share_forgets() -> None:
    """The last 1,000 decisions are the last 1,000."""
    tally = Tally(["old", "new"])
    for arm in ("old", "new"):
        for number in range(1000):
            tally.decided(Decision(str(number), arm), clicked=False)
    result = tally.result()
    assert [row.recent_share for row in result.arms] == [0.0, 1.0]
    assert result.arms[0].share == pytest.approx(0.5)


def test_an_arm_nobody_expected_has_its_row() -> None:
    """An arm that an operator added meanwhile is shown."""
    tally = Tally(["a"])
    tally.decided(Decision("1", "added"), clicked=False)
    assert [row.arm for row in tally.result().arms] == ["a", "added"]
