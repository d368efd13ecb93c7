"""Numbers as people read them."""

import pytest

from app.wording import interval, number, percent, seconds, signed, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (1234, "1,234"),
        (12_345, "12.3 k"),
        (1_234_567, "1.23 M"),
        (0.04567, "0.0457"),
        (-0.5, "−0.500"),
        (1e-12, "< 0.00001"),
    ],
)
def test_three_digits_say_enough(value: float | None, text: str) -> None:
    """Counts whole, large ones short, small ones without an exponent."""
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 %"), (0.0001, "< 0.1 %"), (0.5, "50.0 %"), (0.99996, "> 99.9 %"), (1, "100 %")],
)
def test_no_share_looks_more_certain_than_it_is(value: float | None, text: str) -> None:
    """0 and 100 % are for what is exactly that."""
    assert percent(value) == text


def test_signs_ends_durations_and_sizes() -> None:
    """Each in the unit that suits it."""
    assert [signed(0.5), signed(-0.5), signed(0)] == ["+0.500", "−0.500", "±0"]
    assert interval((0.01, 0.02)) == "0.0100 … 0.0200"
    assert [seconds(0.0123), seconds(30), seconds(1800), seconds(259_200)] == ["12.3 ms", "30.0 s", "30.0 min", "3.0 d"]
    assert [size(0), size(2_500_000)] == ["0 B", "2.50 MB"]
