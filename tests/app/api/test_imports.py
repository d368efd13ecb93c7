"""What serving loads: a web worker needs numpy, not scipy, and `bandits` nothing but numpy and msgspec."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(f"bandits.{path.stem}" for path in (ROOT / "bandits").glob("*.py") if path.stem != "__init__")
# What the interpreter itself loaded at its start, as an editable installation's finder, is nobody's import.
_BEFORE = "import sys; before = {*sys.modules}"
_AFTER = """
loaded = {name.partition('.')[0] for name in {*sys.modules} - before}
print(*sorted(loaded - {*sys.stdlib_module_names}))
"""


def loaded_by(*statements: str) -> set[str]:
    """Top-level packages, the standard library's left out, that a fresh interpreter has loaded afterwards."""
    script = "\n".join([_BEFORE, *statements, _AFTER])
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_a_web_worker_loads_no_scipy() -> None:
    """An app with all its routes, as gunicorn builds it, comes up without scipy, alembic, rich or scikit-learn."""
    loaded = loaded_by(
        "import app.web.wsgi",
        "from app.services import Services; from app.settings import Settings",
        "app.web.wsgi.create_app(Services.build(Settings(), 'postgresql://nobody@127.0.0.1:1/nothing'))",
    )
    assert {"app", "bandits", "flask", "gevent", "msgspec", "numpy", "psycopg2"} <= loaded
    assert not {"scipy", "alembic", "rich", "sklearn", "pandas", "matplotlib"} & loaded


@pytest.mark.parametrize("module", MODULES)
def test_bandits_load_numpy_and_msgspec_only(module: str) -> None:
    """Each module of `bandits` can be imported by itself and brings no other package with it."""
    # msgspec looks whether there is a typing_extensions.
    assert loaded_by(f"import {module}") <= {"bandits", "numpy", "msgspec", "typing_extensions"}
