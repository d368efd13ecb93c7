"""Each injected fault sets off its alert, in time, and no other: hours of traffic in virtual time, default rules."""

import pytest

from app.simulation import SCENARIOS
from app.store.database import Database
from monitoring.alert_rules import DEFAULT_RULES
from tests.rehearsing import Options, rehearse

OPTIONS = Options(hours=3, step_s=180)
# Drift is judged by two closed windows of an hour.
LONGER = {"feature_drift": Options(hours=4.2, rate=0.7, step_s=300)}
SEED = 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_sets_off_its_alert_in_time_and_no_other(name: str, database: Database) -> None:
    """Nothing fires before the fault; then its rule, within the stated time, and none that is not the fault's too."""
    scenario = SCENARIOS[name]
    fired = rehearse(database, scenario, seed=SEED, options=LONGER.get(name, OPTIONS))
    assert all(each.after_s >= 0 for each in fired), fired
    assert {each.rule for each in fired} <= {scenario.alert, *scenario.accompanied}, fired
    if scenario.alert:
        first = min((each.after_s for each in fired if each.rule == scenario.alert), default=None)
        assert first is not None
        assert scenario.within_min is not None
        assert first <= scenario.within_min * 60


def test_what_should_fire_is_a_default_rule() -> None:
    """So that an experiment is watched without doing anything for it; where nothing should fire, nothing may."""
    for scenario in SCENARIOS.values():
        assert {scenario.alert, *scenario.accompanied} - {None} <= DEFAULT_RULES.keys()
        assert (scenario.alert is None) == (scenario.within_min is None)
        assert scenario.alert or not scenario.accompanied
