"""Prometheus' rules: the tools accept them, each is tested, and they name what `/metrics` has."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring.dashboards import dashboards
from monitoring.exposition import MetricFiles, render
from monitoring.instruments import INSTRUMENTS, REQUEST_DURATION
from monitoring.meter import Meter

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
# What Prometheus itself adds to each scrape.
SCRAPE = {"up"}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


def promtool(*arguments: str | Path) -> str:
    """What promtool says when it is content."""
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Labels of every sample that a process exposes which has used every instrument of the table."""
    folder = tmp_path_factory.mktemp("metrics")
    meter, files = Meter(), MetricFiles(folder, "web")
    for instrument in INSTRUMENTS:
        meter.add(instrument, ("x",) * len(instrument.labels), 1.0)
    meter.read(lambda every: files.write(every, time.time()))
    families = text_string_to_metric_families(render(folder).decode())
    found = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    files.close()
    return found


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric that an expression names, with the labels that it selects by."""
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", "", expression)
    found = re.findall(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\w|\s*\()", re.sub(r"\[[^\]]*\]", "", bare))
    words = {"and", "or", "unless", "offset", "d", "h", "m", "s", "e6", "bool"}
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces)))
        for name, braces in found
        if name not in words and not re.fullmatch(r"\d.*", name)
    ]


@needs_promtool
def test_the_configuration_and_its_rules_are_valid(tmp_path: Path) -> None:
    """`promtool check config` accepts it, with the rules that it names and the key's file in place."""
    key = tmp_path / "key"
    key.touch()
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    text = (PROMETHEUS / "prometheus.yml").read_text()
    assert "/run/secrets/metrics_key" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_key", str(key)))
    promtool("check", "config", tmp_path / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("file", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda file: file.stem)
def test_rules_fire_and_stay_quiet_as_their_tests_say(file: Path) -> None:
    """`promtool test rules`."""
    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tested_firing_and_quiet(alert: str) -> None:
    """The tests of rules have a case in which it fires, and one in which it does not."""
    cases = [
        case
        for file in (PROMETHEUS / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_is_wrong_and_what_to_do(alert: str) -> None:
    """It has a severity, a sentence, and a section of the runbook."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("/")[2].partition("#")
    assert anchor == alert.lower()
    assert f"\n## {alert}\n" in (ROOT / "docs" / page).read_text()


def test_the_runbook_has_no_other_sections() -> None:
    """What is no alert any more is gone."""
    assert set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_name_what_is_there(rule: dict[str, Any], exposed: dict[str, set[str]]) -> None:
    """Every metric is exposed, scraped or recorded, and has the labels that it is selected by."""
    named = selectors(rule["expr"])
    assert named
    for name, labels in named:
        assert name in exposed.keys() | RECORDED | SCRAPE, name
        assert labels <= exposed.get(name, {"job", "slo"}), name


def test_dashboards_name_what_is_there(exposed: dict[str, set[str]]) -> None:
    """The same holds for every panel's queries and the variables."""
    made = dashboards().values()
    asked = [target["expr"] for dashboard in made for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [v["query"]["query"] for d in made for v in d["templating"]["list"] if v["type"] == "query"]
    for expression in asked:
        named = [(name, labels) for name, labels in selectors(expression) if name != "experiment"]
        assert named, expression
        for name, labels in named:
            assert name in exposed.keys() | RECORDED, name
            assert labels <= exposed.get(name, set()), name


def test_the_latency_objective_is_the_bound_of_a_bucket() -> None:
    """Else no request would count as fast."""
    bounds = {bound for rule in RULES for bound in re.findall(r'le="([^"]+)"', rule["expr"])}
    assert bounds
    assert {float(bound) for bound in bounds} <= set(REQUEST_DURATION.buckets)
