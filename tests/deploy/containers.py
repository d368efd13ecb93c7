"""Runs a command as a container of our image would run it, with the means of Linux alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.deploy.files import ROOT, own_services, stages

__all__ = ["ADDRESSES", "USER", "Rehearsal", "done", "tell"]

USER: Final = 10001
ADDRESSES: Final = {
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
        names = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        user = f"croupier:x:{USER}:{USER}::/var/lib/croupier:/usr/sbin/nologin\n"
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
        as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
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
            os.chown(folder, USER, USER)
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


def done(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
    """Runs a command, and returns what it says."""
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=env)
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
    text = file.read_text().replace("bind :8000", f"bind {ADDRESSES['balancer']}:8000").replace(" resolvers docker", "")
    file.write_text(text)


def _interpolated(value: str) -> str:
    """A value of the compose file, with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
