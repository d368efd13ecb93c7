"""Calls that hang."""

import threading

import pytest

from app.avatars.patience import Patience


def test_who_does_not_return_is_left_and_not_asked_again_until_it_has() -> None:
    """Others are asked meanwhile; so no more threads hang than there are keys."""
    patience, go_on = Patience[bool](0.05), threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        patience.call("a", go_on.wait)
    (hanging,) = [thread for thread in threading.enumerate() if thread.name == "patience"]
    with pytest.raises(TimeoutError, match="asked before"):
        patience.call("a", go_on.wait)
    assert [thread for thread in threading.enumerate() if thread.name == "patience"] == [hanging]
    assert patience.call("b", lambda: True)
    go_on.set()
    hanging.join(5)
    assert patience.call("a", lambda: True)


def test_what_it_raises_is_raised() -> None:
    """A fault of the function is told as it is, and the next call is made."""
    patience = Patience[float](5)
    with pytest.raises(ZeroDivisionError):
        patience.call("a", lambda: 1 / 0)
    assert patience.call("a", lambda: 1.5) == 1.5
