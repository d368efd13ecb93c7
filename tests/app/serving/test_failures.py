import logging

import pytest

from app.serving.failures import FailureLog


def test_an_arm_is_logged_once_in_ten_seconds_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    """A dead model server is one line in ten seconds that says how often, and hides no other arm's trouble."""
    failures = FailureLog()
    with caplog.at_level(logging.WARNING):
        for moment in (0.0, 1.0, 9.9):
            failures.note("home", "model", "down", now=moment)
        failures.note("home", "other", "slow", now=9.9)
        failures.note("home", "model", "down", now=10.0)
    lines = [(r.arm, r.failures, r.getMessage()) for r in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("model", 1, "recommender failed: down"),
        ("other", 1, "recommender failed: slow"),
        ("model", 3, "recommender failed: down"),
    ]
