"""The browser client, by Node's own test runner, against a real service."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import ADMIN_KEY, Service

FOLDER = Path(__file__).parents[2] / "clients" / "js"
EXPERIMENT = {"arms": [{"key": "a", "recommender": {"kind": "static", "items": ["i1", "i2"]}}]}


def test_the_browser_client(service: Service) -> None:
    """Its tests pass."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    service.api().put("/v1/experiments/browser", EXPERIMENT).ok()
    told = {"CROUPIER_URL": service.url, "CROUPIER_KEY": ADMIN_KEY, "CROUPIER_EXPERIMENT": "browser"}
    ran = subprocess.run(
        [node, "--test", "croupier.test.js"],
        cwd=FOLDER,
        env=os.environ | told,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
