"""The quick start and the tutorial: what they tell newcomers to type works, as it stands there."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import ADMIN_KEY, Service, running_service

ROOT = Path(__file__).parents[2]
# Shorter runs of the same commands.
_SHORTER = {"--rate 150 --decisions 4000": "--rate 200 --decisions 200", "--decisions 100000": "--decisions 5000"}
_PATIENCE_S = 250  # a dozen processes start one after the other, which takes long where everything is busy
_PRELUDE = 'set -eu -o pipefail; croupier() { "$PYTHON" -m app.cli "$@"; }\n'


@pytest.fixture(scope="module")
def guided(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose catalogue is empty at first."""
    with running_service(new_database(), tmp_path_factory.mktemp("guided")) as running:
        yield running


def blocks(page: str) -> list[str]:
    """The shell blocks of a page that can be run one after the other; `console` ones need more than one terminal."""
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def run(service: Service, page: str, folder: Path) -> str:
    """Runs the blocks of a page in one shell; returns what they print."""
    script = "\n".join(blocks(page)).replace("localhost:8000", service.url.removeprefix("http://"))
    script = script.replace("croupier replay msweb", f"croupier replay msweb --url {service.url}")
    for usual, shorter in _SHORTER.items():
        script = script.replace(usual, shorter)
    environment = {**service.environment, "KEY": ADMIN_KEY, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        ["bash", "-c", _PRELUDE + script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_quick_start_works(guided: Service, tmp_path: Path) -> None:
    """An experiment from a file, a decision, its feedback, and what is known then; answers have the fields shown."""
    told = run(guided, "quick-start.md", tmp_path)
    assert "Done: 1 made, 0 changed, 0 removed" in told
    page = (ROOT / "docs" / "quick-start.md").read_text()
    shown = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for name in {name for block in shown for name in re.findall(r'"(\w+)":', block)}:
        assert f'"{name}":' in told
    assert '"status":"accepted"' in told


@pytest.mark.timeout(_PATIENCE_S + 50)
def test_the_tutorial_works(guided: Service, tmp_path: Path) -> None:
    """Real visitors, their figures, a policy that never ran, a reviewed change, and headlines."""
    told = run(guided, "tutorial.md", tmp_path)
    for line in ("200 decisions in", "(the log)", "policy epsilon_greedy", "Nothing to do", "Regret, in clicks"):
        assert line in told
    assert "-control: popular\n+control: similar\n" in told
    assert "All statistics equal the fold of the log" in told
