"""What a decision tells a collector."""

from typing import get_args

import pytest

from app.serving.decide import Reason
from app.serving.watching import _evaluation
from tests.app.building import decision

# https://opentelemetry.io/docs/specs/semconv/registry/attributes/feature-flag/
KNOWN_REASONS = {
    "cached", "default", "disabled", "error", "split", "stale", "static", "targeting_match", "unknown",
}  # fmt: skip
KNOWN_NAMES = {
    "feature_flag.key", "feature_flag.provider.name", "feature_flag.result.variant", "feature_flag.result.reason",
    "feature_flag.version",
}  # fmt: skip


@pytest.mark.parametrize("reason", get_args(Reason))
def test_an_evaluation_speaks_the_words_of_the_convention(reason: Reason) -> None:
    """All of its attributes but the unit, which may be a person; our own words have a prefix of their own."""
    told = _evaluation(decision(reason=reason, unit="somebody"))
    assert told["feature_flag.result.reason"] in KNOWN_REASONS
    assert {name for name in told if not name.startswith("croupier.")} == KNOWN_NAMES
    assert "somebody" not in told.values()
