"""Level `online`: what came of the very lists that were shown. By the arm that was chosen."""

from collections.abc import Sequence
from typing import Final, SupportsInt

import numpy as np
import numpy.typing as npt

from app.batch.figures import ALL_ARMS, RANKING, Figure, Figures, groups, means_by_arm
from app.batch.gathering import WindowLists
from app.specification import Reward
from app.store.lists import ArmTraffic
from monitoring.lists import FloatArray, blocks, per_list

__all__ = ["QUANTILES", "note_feedback", "note_lists", "note_traffic"]

QUANTILES: Final = (50, 90, 99)

# A list that nobody gave feedback on is no hit; of the others' order it says nothing.
_SILENCE_IS_ZERO: Final = frozenset({"hit_rate", "precision", "reciprocal_rank"})


def note_traffic(figures: Figures, traffic: Sequence[ArmTraffic]) -> None:
    """How decisions were made: counts, fallbacks, exploration, opportunity cost; of all units."""
    together = ArmTraffic(
        arm=ALL_ARMS,
        decisions=sum(t.decisions for t in traffic),
        fallbacks=sum(t.fallbacks for t in traffic),
        drawn=sum(t.drawn for t in traffic),
        at_floor=sum(t.at_floor for t in traffic),
        compared=sum(t.compared for t in traffic),
        explored=sum(t.explored for t in traffic),
        cost=sum(t.cost for t in traffic),
    )
    for arm in (together, *traffic):
        figures.add("decisions", arm.arm, Figure(arm.decisions, arm.decisions))
        figures.add("fallback_share", arm.arm, _share(arm.fallbacks, arm.decisions))
        figures.add("floor_share", arm.arm, _share(arm.at_floor, arm.drawn))
        figures.add("exploration_share", arm.arm, _share(arm.explored, arm.compared))
        figures.add("opportunity_cost", arm.arm, Figure(arm.cost if arm.compared else np.nan, arm.compared))


def note_feedback(figures: Figures, lists: WindowLists, reward: Reward) -> None:
    """What came of the exposures: of those that are learned from."""
    exposed = lists.counts
    silence = np.nan if reward.missing == "explicit" else reward.default
    outcome = np.where(np.isnan(lists.outcome), silence, lists.outcome)
    rewarded = np.where(np.isnan(outcome), np.nan, outcome > 0)
    for metric, values in (
        ("value_per_decision", outcome),
        ("reward_rate", rewarded),
        ("feedback_coverage", ~np.isnan(lists.outcome) * 1.0),
    ):
        for arm, figure in means_by_arm(np.where(exposed, values, np.nan), lists.chosen, lists.arms).items():
            figures.add(metric, arm, figure)
    for arm, mine in groups(lists.arms, lists.chosen):
        count = int(np.count_nonzero(mine & exposed))
        figures.add("exposures", arm, Figure(count, count))
        delays = lists.delay_s[mine & exposed & ~np.isnan(lists.delay_s)]
        for percent in QUANTILES:
            value = float(np.percentile(delays, percent)) if delays.size else np.nan
            figures.add(f"time_to_feedback_p{percent}", arm, Figure(value, delays.size))


def note_lists(figures: Figures, lists: WindowLists, ks: Sequence[int]) -> None:
    """How the lists that were shown did, and whether they were whole. Arms that give no lists have nothing here."""
    listing = lists.of_listing_arms(lists.chosen)
    for arm, mine in groups(lists.arms, lists.chosen):
        rows = mine & listing
        figures.add("empty_share", arm, _share(np.count_nonzero(rows & ~lists.filled), np.count_nonzero(rows)))
        _note_repeats(figures, arm, lists, mine & lists.counts & lists.filled)
    for k in ks:
        (size,), _, _ = per_list(lists.items, k, lambda block: (block.filled,))
        short = np.where(listing & lists.filled, size < k, np.nan)
        for arm, figure in means_by_arm(short, lists.chosen, lists.arms).items():
            figures.add("short_share", arm, figure, k=k)
        _note_accuracy(figures, lists, listing & lists.counts, k)


def _note_accuracy(figures: Figures, lists: WindowLists, rows: npt.NDArray[np.bool_], k: int) -> None:
    for metric, score in RANKING.items():
        values: FloatArray = score(lists.items, lists.liked, k).values
        if metric in _SILENCE_IS_ZERO:
            values = np.nan_to_num(values)
        for arm, figure in means_by_arm(np.where(rows, values, np.nan), lists.chosen, lists.arms).items():
            figures.add(metric, arm, figure, k=k)


def _note_repeats(figures: Figures, arm: str, lists: WindowLists, rows: npt.NDArray[np.bool_]) -> None:
    """How often units come back, and how much of what they are shown they were shown before in the window."""
    units = np.unique(lists.unit[rows]).size
    n = int(np.count_nonzero(rows))
    figures.add("exposures_per_unit", arm, Figure(n / units if units else np.nan, units))
    parts = [block.items.astype(np.int32) for block in blocks(lists.items[rows], lists.items.shape[1])]
    shown = np.concatenate(parts or [lists.items[:0]])
    pairs = (lists.unit[rows][:, None] * (int(shown.max(initial=0)) + 1) + shown)[shown >= 0]
    pairs.sort()  # in place: there are ten times as many of them as decisions
    figures.add("repeat_share", arm, _share(np.count_nonzero(pairs[1:] == pairs[:-1]), pairs.size))


def _share(part: SupportsInt, whole: SupportsInt) -> Figure:
    n = int(whole)
    return Figure(int(part) / n if n else np.nan, n)
