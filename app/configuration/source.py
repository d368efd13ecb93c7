"""A file of YAML documents: their values, and the line of each part."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.api.yaml import Loader
from app.configuration.faults import escaped
from app.errors import Fault

__all__ = ["Source", "read_sources"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One document of a file."""

    file: str
    value: Any
    lines: Mapping[str, int]  # by JSON pointer, counted from 1
    faults: tuple[Fault, ...] = ()  # what makes it no value at all, or another than its author thinks

    def place(self, pointer: str) -> str:
        """File and line of a part, or of the nearest that stands around it."""
        while pointer not in self.lines and "/" in pointer:
            pointer = pointer.rpartition("/")[0]
        return f"{self.file}:{self.lines.get(pointer, 1)}"

    def told(self, fault: Fault) -> Fault:
        """A fault with file and line before its pointer."""
        return Fault(f"{self.place(fault.pointer)}: {fault.pointer}", fault.detail)


def read_sources(path: Path) -> Iterator[Source]:
    """The documents of a file; empty ones are left out."""
    loader = None
    try:
        loader = Loader(path.read_bytes())
        while loader.check_node():
            root = loader.get_node()
            source = _source(str(path), loader, root) if root is not None else None
            if source is not None and (source.value is not None or source.faults):
                yield source
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or (loader and loader.get_mark())
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or error
        yield Source(file=str(path), value=None, lines={"#": line}, faults=(Fault("#", f"this is not YAML: {what}"),))
    finally:
        if loader is not None:
            loader.dispose()


def _source(file: str, loader: Loader, root: yaml.Node) -> Source:
    lines: dict[str, int] = {}
    faults = []
    for pointer, node in _places(root, "#"):
        if pointer in lines:
            faults.append(Fault(pointer, f"stands here twice, first in line {lines[pointer]}"))
        lines[pointer] = node.start_mark.line + 1
    faults += [
        Fault(pointer, f"YAML takes {word} for no text; put it in quotes") for pointer, word in _odd_keys(root, "#")
    ]
    value = loader.construct_document(root)
    faults += [Fault(pointer, f"{number} is not a finite number") for pointer, number in _odd_numbers(value, "#")]
    return Source(file=file, value=value, lines=lines, faults=tuple(faults))


def _places(node: yaml.Node, pointer: str) -> Iterator[tuple[str, yaml.Node]]:
    """Each part's pointer, with the node that it begins at."""
    if pointer == "#":
        yield pointer, node
    if isinstance(node, yaml.MappingNode):
        for key, member in node.value:
            inside = f"{pointer}/{escaped(str(key.value))}"
            yield inside, key
            yield from _places(member, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, element in enumerate(node.value):
            yield f"{pointer}/{index}", element
            yield from _places(element, f"{pointer}/{index}")


def _odd_keys(root: yaml.Node, pointer: str) -> Iterator[tuple[str, str]]:
    """Keys as `on` and `null`, which JSON cannot have, and nobody means."""
    if isinstance(root, yaml.MappingNode):
        for key, member in root.value:
            inside = f"{pointer}/{escaped(str(key.value))}"
            if key.tag.endswith((":bool", ":null")):
                yield inside, key.value
            yield from _odd_keys(member, inside)
    elif isinstance(root, yaml.SequenceNode):
        for index, element in enumerate(root.value):
            yield from _odd_keys(element, f"{pointer}/{index}")


def _odd_numbers(value: Any, pointer: str) -> Iterator[tuple[str, float]]:  # noqa: ANN401 - YAML
    """JSON would make nulls of these, and null often means something."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _odd_numbers(member, f"{pointer}/{escaped(str(key))}")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _odd_numbers(element, f"{pointer}/{index}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield pointer, value
