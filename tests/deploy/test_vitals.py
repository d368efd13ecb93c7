"""The console's tiles of the service's health have the colours of alerts."""

import itertools

import pytest

from app.console.vitals import DATABASE_AWAY, LIMITS, Limit, Vital
from tests.deploy.test_prometheus import ALERTS, ROOT

# What a rule must say for a tile's limit to be its own. The burn rate of an objective of 99.9 % is 1,000 × the share.
SAID = {"CroupierBudgetBurnsFast": "rate5m > 14.4", "CroupierBudgetLeaks": "rate6h > 1"}


@pytest.mark.parametrize("limit", [DATABASE_AWAY, *itertools.chain(*LIMITS.values())], ids=lambda limit: limit.alert)
def test_a_coloured_tile_has_its_alert(limit: Limit) -> None:
    """Red where it pages, yellow where it makes a ticket, from the rule's own limit on."""
    rule = ALERTS[limit.alert]
    assert rule["labels"]["severity"] == {"bad": "page", "warn": "ticket"}[limit.tone]
    assert SAID.get(limit.alert, f"> {limit.above:g}") in rule["expr"]


def test_the_latency_tile_goes_by_the_objective() -> None:
    """More than 1 % of the answers above the objective's 100 ms make its budget leak."""
    (limit,) = LIMITS["Latency p99"]
    assert f'le="{limit.above:g}"' in (ROOT / "deploy" / "prometheus" / "rules" / "slo.yml").read_text()


def test_a_tile_says_which_alert_it_shows() -> None:
    """The highest limit that is passed counts; at the limit, and without a figure, there is none."""
    shown = [Vital.judged("Errors", "", "5xx", figure) for figure in (None, 0.01, 0.011, 0.02)]
    assert [vital.tone for vital in shown] == ["none", "good", "warn", "bad"]
    assert [vital.note for vital in shown] == ["5xx", "5xx", "5xx: CroupierErrors", "5xx: CroupierBudgetBurnsFast"]
