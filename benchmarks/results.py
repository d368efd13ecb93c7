"""Keeps the figures of a run as JSON."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "results"


def save(name: str, result: dict[str, Any]) -> None:
    """Writes benchmarks/results/NAME.json."""
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / f"{name}.json").write_text(json.dumps(result, indent=2, default=float) + "\n")
