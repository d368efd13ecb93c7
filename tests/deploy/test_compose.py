"""The compose file: valid, hardened, without secrets, and every command and setting in it exists."""

import re
import shutil
import stat
import subprocess
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from app.cli import main
from app.settings import Settings, variable_of
from tests.deploy.files import ROOT, compose, own_services, stages

SERVICES = compose()["services"]
COLLECTOR = yaml.safe_load((ROOT / "deploy" / "otel-collector" / "config.yaml").read_text())


def make_secrets(folder: Path) -> str:
    """Runs the script, and returns what it says."""
    command = ["sh", str(ROOT / "deploy" / "make-secrets"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_file_is_valid(tmp_path: Path) -> None:
    """`docker-compose config` accepts it."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    make_secrets(tmp_path)
    command = ["docker-compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    ran = subprocess.run(
        command, env={"SECRETS": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened(name: str) -> None:
    """A read-only root file system, no capabilities, no new privileges."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_a_secret_in_its_environment(name: str) -> None:
    """Passwords and keys are in files, which have no default."""
    for variable, value in (SERVICES[name].get("environment") or {}).items():
        if re.search("PASSWORD|KEY|SECRET|TOKEN|DATABASE_URL", variable):
            assert variable.endswith("_FILE")
            assert value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]
    assert set(SERVICES[name].get("secrets") or []) <= compose()["secrets"].keys()


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_by_version(name: str) -> None:
    """Each has a version, and none names where it comes from: that is the machine's business."""
    image = SERVICES[name]["image"]
    assert re.search(r":v?\d+\.\d+|:\$\{TAG:-local\}$", image)
    assert "." not in image.partition("/")[0] or "/" not in image


def test_only_the_load_balancer_is_for_others() -> None:
    """What else has a port has it on this machine alone; the load balancer too unless it is told otherwise."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports.pop("balancer") == ["${BIND:-127.0.0.1}:${PORT:-8000}:8000"]
    assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)


@pytest.mark.parametrize("name", own_services())
def test_our_commands_and_settings_exist(name: str) -> None:
    """A renamed command or setting is found here and not at the start of a container."""
    service = own_services()[name]
    if "entrypoint" not in service:
        command: click.Command = main
        for word in service["command"]:
            if isinstance(command, click.Group):
                command = command.commands[word]
            elif word.startswith("--"):
                assert word in {option for parameter in command.params for option in parameter.opts}
    known = {variable_of(field) for field in fields(Settings)}
    assert {variable.removesuffix("_FILE") for variable in service["environment"]} <= known


def test_files_that_are_mounted_exist() -> None:
    """And every named volume is declared."""
    for service in SERVICES.values():
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            assert (ROOT / source).is_dir() if source.startswith(".") else source in compose()["volumes"]


def test_each_process_that_spools_has_a_volume_of_its_own() -> None:
    """What a web server has acknowledged outlives its container, at the folder that the image uses."""
    folder = stages()[-1].environment()["CROUPIER_DATA_DIR"]
    volumes = [own_services()[name]["volumes"] for name in ("web-1", "web-2", "learner", "monitor")]
    assert sorted(volumes) == sorted([f"{name}:{folder}"] for name in ("web-1", "web-2", "learner", "monitor"))


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """All that the compose file asks for; others cannot enter the folder; a second run changes nothing."""
    folder = tmp_path / "secrets"
    assert "Nobody is told of alerts" in make_secrets(folder)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == compose()["secrets"].keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert made["postgres_password"] in made["database_url"]
    assert made["bootstrap_key"] != made["metrics_key"]
    assert re.fullmatch(r"ck_[0-9a-f]{8}\.[0-9a-f]{64}", made["bootstrap_key"])
    make_secrets(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_the_collectors_pipelines_name_what_is_configured() -> None:
    """Every part is in a pipeline, and nothing else is."""
    pipelines = COLLECTOR["service"]["pipelines"]
    assert pipelines.keys() == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        assert {part for pipeline in pipelines.values() for part in pipeline[kind]} == COLLECTOR[kind].keys()
    assert COLLECTOR["service"]["extensions"] == list(COLLECTOR["extensions"])


def test_the_collector_leaves_out_what_prometheus_scrapes_itself() -> None:
    """The figures of web workers, whose instances are named host/web-number, and of nobody else."""
    (condition,) = COLLECTOR["processors"]["filter/scraped"]["metrics"]["metric"]
    (pattern,) = re.findall(r'service.instance.id"\], "([^"]+)"', condition)
    assert re.search(pattern, "host/web-0")
    assert not re.search(pattern, "web-1/learner-0")
    assert not re.search(pattern, "web-1.example/monitor-12")


def test_endpoints_agree() -> None:
    """Who talks to whom by name and port: Croupier to the collector, Prometheus to the web and the collector."""
    endpoint = own_services()["web-1"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == "http://otel-collector:4318"
    assert COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    scraped = [target for job in prometheus["scrape_configs"] for target in job["static_configs"][0]["targets"]]
    assert scraped == ["web-1:8000", "web-2:8000", "otel-collector:8889"]
    assert COLLECTOR["exporters"]["prometheus"]["endpoint"].endswith(":8889")
    assert {target.partition(":")[0] for target in scraped} <= SERVICES.keys()
