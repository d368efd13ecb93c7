"""From files to what they declare. All of it is checked that can be without the database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from app.configuration.faults import decoded, escaped, refusal
from app.configuration.shape import Document, ExperimentEntry, Name, Part
from app.configuration.source import Source, read_sources
from app.errors import Fault, InvalidInput
from app.specification import check

__all__ = ["Declared", "Scope", "Wanted", "read_files"]

Scope = tuple[str, str]
"""A kind of part, and the experiment that has such parts; '' as in `Name`."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One part, and where it stands."""

    value: Part
    source: Source
    pointer: str

    @property
    def place(self) -> str:
        """File and line."""
        return self.source.place(self.pointer)

    def told(self, fault: Fault) -> Fault:
        """A fault of this part, with file and line."""
        return self.source.told(Fault(self.pointer + fault.pointer.removeprefix("#"), fault.detail))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """All that files declare together."""

    parts: Mapping[Name, Declared]
    scopes: frozenset[Scope]  # sections that are there, if only empty

    @property
    def experiments(self) -> list[str]:
        """Keys of the experiments, in order."""
        return sorted(name.key for name in self.parts if name.kind == "experiment")


def read_files(paths: Sequence[Path]) -> Wanted:
    """Reads files as if they were one.

    Raises:
        InvalidInput: with every fault, each a line of file, line, pointer and what is wrong.
    """
    faults: list[Fault] = []
    parts: dict[Name, Declared] = {}
    scopes: set[Scope] = set()
    for source in (source for path in paths for source in read_sources(path)):
        found, wrong = _declared(source)
        faults += wrong
        for name, declared in found:
            faults += [declared.told(fault) for fault in _own_faults(declared.value)]
            if name in parts:
                faults.append(declared.told(Fault("#", f"{name} is declared already, at {parts[name].place}")))
            parts[name] = declared
            scopes |= _scopes_within(name, declared.value)
        scopes |= _sections(source)
    if faults:
        raise refusal(faults)
    return Wanted(parts=parts, scopes=frozenset(scopes))


def _declared(source: Source) -> tuple[list[tuple[Name, Declared]], list[Fault]]:
    """The parts of a document, and what is wrong with it."""
    faults = {fault.pointer: fault for fault in source.faults}
    try:
        document: Document = decoded({} if source.value is None else source.value, Document)
    except InvalidInput as error:
        document, faults = Document(), {fault.pointer: fault for fault in error.faults} | faults
    named = ((name, Declared(value=value, source=source, pointer=at)) for name, value, at in _parts(document))
    return list(named), [source.told(fault) for fault in faults.values()]


def _parts(document: Document) -> Iterator[tuple[Name, Part, str]]:
    for key, entry in _members(document.experiments):
        at = f"#/experiments/{escaped(key)}"
        yield Name("experiment", key, key), entry, at
        for rule, value in _members(entry.alert_rules):
            yield Name("alert rule", key, rule), value, f"{at}/alert_rules/{escaped(rule)}"
        for avatar, value in _members(entry.avatars):
            yield Name("avatar", key, avatar), value, f"{at}/avatars/{escaped(avatar)}"
    for rule, value in _members(document.alert_rules):
        yield Name("alert rule", "", rule), value, f"#/alert_rules/{escaped(rule)}"
    for channel, value in _members(document.alert_channels):
        yield Name("alert channel", "", channel), value, f"#/alert_channels/{escaped(channel)}"


def _members(section: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of four types
    yield from {} if section is UNSET else section.items()


def _own_faults(value: Part) -> tuple[Fault, ...]:
    """What parts of a declaration, each fine by itself, say together."""
    if not isinstance(value, ExperimentEntry):
        return ()
    try:
        check(value.specification())
    except InvalidInput as error:
        return error.faults
    return ()


def _scopes_within(name: Name, value: Part) -> set[Scope]:
    if not isinstance(value, ExperimentEntry):
        return set()
    sections: dict[str, object] = {"alert rule": value.alert_rules, "avatar": value.avatars}
    return {(kind, name.key) for kind, section in sections.items() if section is not UNSET}


def _sections(source: Source) -> set[Scope]:
    there = source.value if isinstance(source.value, dict) else {}
    sections = {"alert_rules": "alert rule", "alert_channels": "alert channel"}
    return {(kind, "") for section, kind in sections.items() if section in there}
