"""Delivery: to a real Alertmanager, to webhooks and to the log, after the flip is committed."""

import hashlib
import hmac
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from app.alerting.delivery import SIGNATURE_HEADER, announce, deliver, tell_log
from app.alerting.evaluation import evaluate_all
from app.outgoing import Guard
from app.store import alert_channels, alert_rules
from app.store.database import Database
from tests.app.building import decision, execute, now, put, query, record, specification
from tests.running import free_port, until

SECRET = "a-secret-of-a-test"
INTERVAL = timedelta(seconds=15)
LOCAL = Guard(private=True)
_ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
_RULE = '{"kind": "threshold", "metric": "fallback_share", "value": 0.1, "summary": "bad"}'


class Receiver(ThreadingHTTPServer):
    """A webhook that answers with `status` and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.received: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Keeps a request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers[SIGNATURE_HEADER], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pool() -> Iterator[urllib3.PoolManager]:
    """Connections."""
    made = urllib3.PoolManager()
    yield made
    made.clear()


@pytest.fixture
def home(database: Database) -> Database:
    """An experiment whose rule "bad" holds."""
    put(database, "home", specification())
    execute(database, "INSERT INTO alert_rules VALUES ('home', 'bad', cast(:rule AS jsonb), now())", rule=_RULE)
    record(database, [decision(served_arm=None, reason="fallback", learnable=False) for _ in range(10)])
    return database


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """A real Alertmanager."""
    if _ALERTMANAGER is None:
        pytest.skip("no Alertmanager is installed (Debian: prometheus-alertmanager)")
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    options = {"config.file": configuration, "storage.path": tmp_path / "data", "cluster.listen-address": ""}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    listen = f"--web.listen-address={url.removeprefix('http://')}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([_ALERTMANAGER, *arguments, listen], stdout=log, stderr=log)
    try:
        until(lambda: _is_up(url), "Alertmanager to be up")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _is_up(url: str) -> bool:
    with urllib3.PoolManager(retries=False) as pool:
        try:
            return pool.request("GET", f"{url}/-/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False


def channel(database: Database, url: str) -> None:
    """Stores the webhook "hook"."""
    with database.transaction() as connection:
        alert_channels.put(connection, "hook", url=url, secret=SECRET)


def test_a_real_alertmanager_has_what_fires_once_and_loses_what_is_resolved(
    home: Database, pool: urllib3.PoolManager, alertmanager: str
) -> None:
    """Sent pass after pass, an alert is one; its value is no part of its identity; resolved, it is gone."""
    moment = now()
    evaluate_all(home, moment)
    assert announce(home, pool, [alertmanager], moment, INTERVAL) == 0
    record(home, [decision() for _ in range(10)])
    evaluate_all(home, moment)
    assert announce(home, pool, [alertmanager], moment, INTERVAL) == 0
    (alert,) = pool.request("GET", f"{alertmanager}/api/v2/alerts?filter=alertname=bad").json()
    assert alert["labels"] == {"alertname": "bad", "experiment": "home"}
    assert alert["annotations"]["value"] == "0.5"
    assert alert["endsAt"].startswith((moment + 4 * INTERVAL).isoformat()[:19])
    if shutil.which("amtool"):
        command = ["amtool", f"--alertmanager.url={alertmanager}", "alert", "query", "bad", "-o", "json"]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert [found["labels"]["experiment"] for found in listed] == ["home"]
    execute(home, "DELETE FROM alert_rules")
    evaluate_all(home, now())
    assert announce(home, pool, [alertmanager], now(), INTERVAL) == 0
    until(lambda: pool.request("GET", f"{alertmanager}/api/v2/alerts?filter=alertname=bad").json() == [], "its end", 5)


def test_an_alertmanager_that_is_away_keeps_nothing_from_the_others(
    home: Database, pool: urllib3.PoolManager, alertmanager: str
) -> None:
    """Every replica is told, whoever fails."""
    evaluate_all(home, now())
    nobody = f"http://127.0.0.1:{free_port()}"
    assert announce(home, pool, [nobody, alertmanager], now(), INTERVAL) == 1
    assert len(pool.request("GET", f"{alertmanager}/api/v2/alerts?filter=alertname=bad").json()) == 1


def test_a_webhook_gets_each_flip_once_signed_in_alertmanagers_format(home: Database, receiver: Receiver) -> None:
    """Version 4, with an HMAC over time and body; a second pass has nothing to send."""
    channel(home, receiver.url)
    moment = now()
    evaluate_all(home, moment)
    deliver(home, LOCAL, moment)
    deliver(home, LOCAL, moment)
    ((header, body),) = receiver.received
    parts = dict(part.split("=", 1) for part in header.split(","))
    assert int(parts["t"]) == int(moment.timestamp())
    assert parts["v1"] == hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    message = json.loads(body)
    assert (message["version"], message["status"], message["receiver"]) == ("4", "firing", "hook")
    alert = next(alert for alert in message["alerts"] if alert["labels"]["alertname"] == "bad")
    assert alert["annotations"]["summary"] == "bad"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"


def test_alerts_of_default_rules_link_to_the_runbook(home: Database, receiver: Receiver) -> None:
    """With the published page and their section; alerts of other rules have no link."""
    execute(home, "INSERT INTO alert_rules VALUES ('home', 'fallbacks', cast(:rule AS jsonb), now())", rule=_RULE)
    channel(home, receiver.url)
    evaluate_all(home, now())
    deliver(home, LOCAL, now(), runbook_url="https://docs.example/runbook.md")
    ((_, body),) = receiver.received
    links = {a["labels"]["alertname"]: a["annotations"].get("runbook_url") for a in json.loads(body)["alerts"]}
    assert links == {"bad": None, "fallbacks": "https://docs.example/runbook.md#fallbacks"}


def test_a_webhook_that_is_down_is_tried_again_later_and_misses_nothing(home: Database, receiver: Receiver) -> None:
    """Not at once, but after a rest; then it gets firing and resolved, in order."""
    channel(home, receiver.url)
    receiver.status = 503
    moment = now()
    evaluate_all(home, moment)
    deliver(home, LOCAL, moment)
    deliver(home, LOCAL, moment + timedelta(seconds=4))
    assert len(receiver.received) == 1
    execute(home, "DELETE FROM alert_rules")
    evaluate_all(home, moment + timedelta(seconds=5))
    receiver.status = 200
    deliver(home, LOCAL, moment + timedelta(seconds=6))
    told = [
        alert["status"]
        for _, body in receiver.received[1:]
        for alert in json.loads(body)["alerts"]
        if alert["labels"]["alertname"] == "bad"
    ]
    assert told == ["firing", "resolved"]
    assert query(home, "SELECT count(*) FROM alert_deliveries") == [(0,)]


@pytest.mark.parametrize("status", [410, 404, 301])
def test_a_permanent_failure_switches_a_webhook_off(home: Database, receiver: Receiver, status: int) -> None:
    """It says why, and is asked no more."""
    channel(home, receiver.url)
    receiver.status = status
    evaluate_all(home, now())
    deliver(home, LOCAL, now())
    deliver(home, LOCAL, now() + timedelta(days=1))
    assert len(receiver.received) == 1
    assert query(home, "SELECT fault, switched_off_at IS NULL FROM alert_channels") == [
        (f"it answered {status}", False)
    ]


def test_a_silenced_alert_is_told_to_nobody(home: Database, receiver: Receiver) -> None:
    """What fires is held back, with all its labels in the silence; others are not."""
    channel(home, receiver.url)
    moment = now()
    values = {"labels": {"experiment": "home"}, "starts_at": moment, "ends_at": moment + timedelta(hours=1)}
    with home.transaction() as connection:
        alert_rules.add_silence(connection, {**values, "comment": "", "created_by": "me"})
    evaluate_all(home, moment)
    deliver(home, LOCAL, moment)
    assert receiver.received == []
    assert query(home, "SELECT count(*) FROM alert_deliveries") == [(0,)]


def test_the_log_tells_of_flips(home: Database, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each alert that fires."""
    tell_log(evaluate_all(home, now()))
    assert "alert firing: bad" in [record.getMessage() for record in caplog.records]
