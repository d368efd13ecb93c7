"""Alerts over HTTP: rules as data, what fires, acknowledgements, silences and channels."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.acceptance.talking import problem
from tests.running import Api, Service, running_service, until

RULE = {"kind": "threshold", "metric": "decisions_per_s", "value": 0, "window_s": 3600}
SPEC = {"arms": [{"key": "a"}]}
YAML = b"""
kind: threshold
metric: decisions_per_s
value: 0
severity: page
"""


@pytest.fixture(scope="module")
def quick(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that evaluates alerts five times a second."""
    folder = tmp_path_factory.mktemp("alerts")
    with running_service(new_database(), folder, CROUPIER_ALERT_INTERVAL_MS="200") as running:
        yield running


@pytest.fixture
def api(quick: Service) -> Iterator[Api]:
    """A client of it."""
    made = quick.api()
    yield made
    made.close()


def alerts(api: Api, key: str, state: str = "firing") -> list[dict[str, Any]]:
    """The alerts of the rule "busy" of an experiment."""
    page = api.get(f"/v1/alerts?experiment={key}&state={state}").ok()["alerts"]
    return [alert for alert in page if alert["rule"] == "busy"]


def make_busy(api: Api, key: str) -> dict[str, Any]:
    """An experiment whose alert fires."""
    api.put(f"/v1/experiments/{key}", SPEC).ok()
    api.put(f"/v1/alert-rules/busy?experiment={key}", RULE).ok()
    api.post("/v1/recommendations", {"experiment": key, "unit": "u"}).ok()
    until(lambda: alerts(api, key), "the alert")
    return alerts(api, key)[0]


def test_an_alert_fires_is_acknowledged_and_resolved(api: Api) -> None:
    """The monitor finds it; its page shows labels, value and flips; a deleted rule ends it."""
    alert = make_busy(api, "fires")
    assert alert["labels"] == {"alertname": "busy", "experiment": "fires"}
    assert alert["value"] > 0
    assert [(flip["before"], flip["after"]) for flip in alert["flips"]] == [("inactive", "firing")]
    acknowledged = api.post(f"/v1/alerts/{alert['id']}/acknowledge").ok()
    assert acknowledged["acknowledged_by"]
    assert api.get(f"/v1/alerts/{alert['id']}").ok()["acknowledged_at"] == acknowledged["acknowledged_at"]
    assert api.call("DELETE", "/v1/alert-rules/busy?experiment=fires").status == 204
    until(lambda: alerts(api, "fires", "resolved"), "its end")
    problem(api.post(f"/v1/alerts/{alert['id']}/acknowledge"), 409)
    problem(api.get("/v1/alerts/999999"), 404)
    problem(api.get("/v1/alerts?state=red"), 422)


def test_every_experiment_has_the_default_rules_and_a_stored_one_replaces_its_namesake(api: Api) -> None:
    """YAML says the same as JSON; deleting a stored rule brings the default one back."""
    default = api.get("/v1/alert-rules/no-feedback").ok()
    assert default["kind"] == "absence"
    sent = api.call("PUT", "/v1/alert-rules/no-feedback", raw=YAML, headers={"Content-Type": "application/yaml"}).ok()
    assert api.get("/v1/alert-rules/no-feedback").ok() == sent
    assert (sent["kind"], sent["severity"]) == ("threshold", "page")
    assert api.get("/v1/alert-rules").ok()["rules"]["no-feedback"] == sent
    assert api.call("DELETE", "/v1/alert-rules/no-feedback").status == 204
    assert api.get("/v1/alert-rules/no-feedback").ok() == default
    problem(api.call("DELETE", "/v1/alert-rules/no-feedback"), 404)
    problem(api.get("/v1/alert-rules/none"), 404)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"kind": "nonsense"}', "application/json", 422),
        (b'{"kind": "threshold", "metric": "decisions_per_s", "value": 1, "for": 3}', "application/json", 422),
        (b"{", "application/json", 400),
        (b"a: &a [1]\nb: *a", "application/yaml", 400),
        (b"? [1]\n: 2", "application/yaml", 400),
        (b"kind: drift\nat_least: 2", "application/yaml", 422),
        (b"[" * 5000, "application/yaml", 400),
    ],
)
def test_a_bad_rule_is_refused(api: Api, body: bytes, kind: str, status: int) -> None:
    """With what was wrong; nothing is stored."""
    problem(api.call("PUT", "/v1/alert-rules/bad", raw=body, headers={"Content-Type": kind}), status)
    problem(api.get("/v1/alert-rules/bad"), 404)


def test_a_rule_of_an_experiment_that_is_not_there_is_refused(api: Api) -> None:
    """It would never be evaluated."""
    problem(api.put("/v1/alert-rules/busy?experiment=nobody", RULE), 404)


def test_silences_begin_are_listed_and_end(api: Api) -> None:
    """What ended stays on record."""
    until_when = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = api.post("/v1/silences", {"labels": {"alertname": "busy"}, "ends_at": until_when, "comment": "known"})
    assert made.status == 201
    silence_id = made.body["id"]
    assert api.get("/v1/silences").ok()["silences"][0]["id"] == silence_id
    ended = api.call("DELETE", f"/v1/silences/{silence_id}").ok()
    assert datetime.fromisoformat(ended["ends_at"]) < datetime.now(UTC) + timedelta(minutes=1)
    problem(api.call("DELETE", "/v1/silences/999999"), 404)
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    problem(api.post("/v1/silences", {"labels": {"a": "b"}, "ends_at": past}), 422, "#/ends_at")
    problem(api.post("/v1/silences", {"labels": {}, "ends_at": until_when}), 422, "#/labels")


def test_channels_keep_their_secrets(api: Api) -> None:
    """A secret is written, and never read."""
    secret = "a-secret-of-a-test"
    sent = {"url": "http://127.0.0.1:9/hook", "secret": secret}
    assert api.put("/v1/alert-channels/hook", sent).status == 204
    listed = api.get("/v1/alert-channels").ok()["channels"]
    assert [(row["key"], row["url"]) for row in listed] == [("hook", sent["url"])]
    assert secret not in str(listed)
    assert api.call("DELETE", "/v1/alert-channels/hook").status == 204
    problem(api.call("DELETE", "/v1/alert-channels/hook"), 404)
    problem(api.put("/v1/alert-channels/hook", {"url": "ftp://x", "secret": secret}), 422, "#/url")


def test_what_fires_is_a_metric_and_is_handled_at_the_command_line(api: Api, quick: Service) -> None:
    """An avatar's list that is not as expected: listed, acknowledged, silenced; the gauge falls when it is over."""
    api.put("/v1/experiments/watched", SPEC).ok()
    api.put("/v1/experiments/watched/avatars/anna", {"unit": "u", "expect": {"min_items": 1}}).ok()
    labels = 'experiment="watched",rule="avatar",severity="ticket"'
    until(lambda: firing(api, labels) == 1, "the gauge")
    (line,) = croupier(quick, "alerts", "list", "--experiment", "watched").output.splitlines()
    assert "firing   ticket" in line
    assert "avatar arm=a,avatar=anna,experiment=watched: 0 items, expected at least 1" in line
    assert "acknowledged by cli" in croupier(quick, "alerts", "acknowledge", line.split()[0]).output
    silenced = croupier(quick, "alerts", "silence", "alertname=avatar", "avatar=anna", "--hours", "2")
    assert "lasts until" in silenced.output
    assert api.get("/v1/silences?limit=1").ok()["silences"][0]["labels"] == {"alertname": "avatar", "avatar": "anna"}
    wrong = croupier(quick, "alerts", "silence", "avatar")
    assert (wrong.exit_code, "NAME=VALUE is wanted" in wrong.output) == (1, True)
    api.call("DELETE", "/v1/experiments/watched/avatars/anna")
    until(lambda: firing(api, labels) == 0, "the gauge to fall")
    again = croupier(quick, "alerts", "acknowledge", line.split()[0])
    assert (again.exit_code, "is resolved" in again.output) == (1, True)


def firing(api: Api, labels: str) -> float | None:
    """What `/metrics` tells of the alerts with these labels; None: nothing."""
    found = re.search(rf"^croupier_alert_firing{{{labels}}} (\S+)$", str(api.get("/metrics").body), re.MULTILINE)
    return float(found[1]) if found else None


def croupier(service: Service, *arguments: str) -> Result:
    """A command, in this process: to start another one takes longer than all else here."""
    return CliRunner().invoke(main, arguments, env={"DATABASE_URL": service.database_url})
