"""Reads the Dockerfile and the compose file as far as tests need it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile: what it begins from, its name, and its other instructions."""

    base: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, word: str) -> list[str]:
        """The arguments of every instruction of a kind."""
        return [arguments for found, arguments in self.instructions if found == word]

    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))))

    def healthcheck(self) -> list[str]:
        """The command of HEALTHCHECK."""
        (check,) = self.all("HEALTHCHECK")
        command: list[str] = json.loads(check.partition("CMD ")[2])
        return command


def stages() -> list[Stage]:
    """The stages of the Dockerfile, in their order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for word, _, arguments in (line.partition(" ") for line in lines):
        if word == "FROM":
            found.append((arguments, []))
        elif found:
            found[-1][1].append((word, arguments))
    split = [(origin.partition(" AS "), rest) for origin, rest in found]
    return [Stage(base, name, tuple(rest)) for (base, _, name), rest in split]


def compose() -> dict[str, Any]:
    """The compose file, with anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def own_services() -> dict[str, dict[str, Any]]:
    """The services of the compose file that run our image."""
    return {name: one for name, one in compose()["services"].items() if one["image"].startswith("croupier:")}
