"""Shares of what should not be in the data, by hand."""

from monitoring.data_quality import (
    EventCounts,
    ListCount,
    Share,
    Shown,
    events,
    lists,
    missing,
    total,
    unknown_items,
    unseen,
)

Context = dict[str, str | float | bool | None]


def test_a_share_of_nothing_has_no_value() -> None:
    """Not 0, which would say that all is well."""
    assert Share(count=0, of=0).value is None
    assert total([]).value is None
    assert total([Share(count=1, of=4), Share(count=2, of=4)]).value == 3 / 8


def test_null_and_absent_values_are_missing() -> None:
    """0, False and the empty word are values."""
    found = missing([{"a": None}, {}, {"a": 0}, {"a": False}, {"a": ""}], ["a"])
    assert found == {"a": Share(count=2, of=5)}


def test_categories_that_the_reference_did_not_have_are_unseen() -> None:
    """Numbers are none; missing values neither; switches are."""
    reference: list[Context] = [{"word": "x", "on": True, "number": 1.0}] * 200
    current: list[Context] = [
        {"word": "y", "on": False, "number": 2.0},
        {"word": "x", "on": True},
        {"word": None, "on": True},
    ]
    found = unseen(reference, current, ["word", "on", "number"])
    assert found == {"word": Share(count=1, of=2), "on": Share(count=1, of=3)}


def test_features_whose_values_are_always_new_are_left_out() -> None:
    """An id would be unseen for ever; 1 of 200 that came once is rare enough, 3 of 200 are not."""
    for once, is_judged in ((1, True), (3, False), (200, False)):
        reference = [{"id": "usual"}] * (200 - once) + [{"id": str(number)} for number in range(once)]
        assert ("id" in unseen(reference, [{"id": "new"}], ["id"])) is is_judged


def test_short_lists_are_shorter_than_the_arm_usually_gives() -> None:
    """Empty ones are counted apart; of equally frequent lengths the longest counts; a new arm has no usual length."""
    reference = [ListCount(arm="a", length=5, count=9), ListCount(arm="a", length=10, count=9)]
    current = [ListCount(arm="a", length=n, count=1) for n in (0, 5, 10)] + [ListCount(arm="new", length=1, count=1)]
    assert lists(reference, current) == {
        "empty_list_share": Share(count=1, of=4),
        "short_list_share": Share(count=1, of=4),
    }


def test_arms_that_bring_their_own_items_have_no_unknown_ones() -> None:
    """An arm whose items were in the catalogue, and are not any more, has."""
    reference = [Shown(arm="own", items=10, known=2), Shown(arm="ours", items=10, known=10)]
    current = [
        Shown(arm="own", items=10, known=0),
        Shown(arm="ours", items=10, known=0),
        Shown(arm="new", items=5, known=0),
    ]
    assert unknown_items(reference, current) == Share(count=10, of=10)


def test_refused_events_are_among_those_received() -> None:
    """Late ones are compared with the reward's only."""
    found = events(EventCounts(taken=90, duplicate=9, in_time=30, late=10, invalid=4, out_of_range=5, refused=10))
    assert found["invalid_share"].value == 0.04
    assert found["out_of_range_share"].value == 0.05
    assert found["duplicate_share"].value == 0.1
    assert found["late_share"].value == 0.25
    assert found["unmatched_share"].value is None
