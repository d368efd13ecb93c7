"""Alertmanager: who hears of what. Prometheus' alerts are routed by their severity, Croupier's own by their names."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.alert_rules import DEFAULT_RULES

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RECEIVERS = {"page": "pager", "ticket": "tickets", "info": "notes"}
pytestmark = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="amtool is not installed (Debian: apt-get install prometheus-alertmanager)"
)


def amtool(*arguments: str) -> str:
    """What amtool says when it is content."""
    ran = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


def receiver_of(**labels: str) -> str:
    """Who hears of an alert."""
    return amtool("config", "routes", "test", f"--config.file={FILE}", *(f"{k}={v}" for k, v in labels.items()))


def test_the_configuration_is_valid() -> None:
    """`amtool check-config` accepts it."""
    assert "SUCCESS" in amtool("check-config", str(FILE))


@pytest.mark.parametrize(("severity", "receiver"), RECEIVERS.items())
def test_alerts_of_prometheus_go_by_their_severity(severity: str, receiver: str) -> None:
    """Each severity has a receiver of its own."""
    assert receiver_of(alertname="Any", severity=severity) == receiver


@pytest.mark.parametrize("key", DEFAULT_RULES)
def test_croupiers_own_alerts_go_as_their_default_rules_say(key: str) -> None:
    """Their severity is no label, so the routes name those that page."""
    assert receiver_of(alertname=key, experiment="home") == RECEIVERS[DEFAULT_RULES[key].severity]


@pytest.mark.parametrize(
    ("key", "receiver"),
    [("page-checkout", "pager"), ("margin-page-fast", "pager"), ("pages", "tickets"), ("homepage", "tickets")],
)
def test_a_rule_of_ones_own_pages_by_the_word_in_its_key(key: str, receiver: str) -> None:
    """`page`, as a word between hyphens."""
    assert receiver_of(alertname=key, experiment="home") == receiver


def test_inhibition_names_alerts_that_exist() -> None:
    """Each rule's source and target match some alert of ours, and no alert silences itself."""
    rules: list[dict[str, Any]] = [
        {"alertname": rule["alert"], **rule["labels"]}
        for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    for inhibition in yaml.safe_load(FILE.read_text())["inhibit_rules"]:
        sources, targets = (
            {rule["alertname"] for rule in rules if _matches(rule, inhibition[f"{side}_matchers"])}
            for side in ("source", "target")
        )
        assert sources
        assert targets
        assert not sources & targets


def _matches(labels: dict[str, str], matchers: list[str]) -> bool:
    """Of the forms that our configuration uses: equality, and a beginning."""
    for matcher in matchers:
        name, _, value = matcher.partition("=")
        wanted = value.strip('~"')
        found = labels.get(name, "")
        if not (found.startswith(wanted.removesuffix(".*")) if value.startswith("~") else found == wanted):
            return False
    return True
