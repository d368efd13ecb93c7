"""From what is wanted and what is there to what changes. Pure."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.api.schemas import ChannelSecret
from app.configuration.faults import refusal
from app.configuration.present import Present
from app.configuration.reading import Declared, Wanted
from app.configuration.shape import ChannelEntry, ExperimentEntry, Name
from app.configuration.text import as_yaml, concise
from app.errors import Fault
from app.settings import FILE, value_of
from app.specification import State, same

__all__ = ["Change", "Plan", "Secrets", "make_plan", "secrets_of"]

Secrets = Mapping[str, str]
"""Of channels that name one, by the channel's key."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One part that becomes another; None: it is not there."""

    name: Name
    before: Any
    after: Any
    place: str = ""  # file and line

    @property
    def verb(self) -> str:
        """What happens to it."""
        return "made" if self.before is None else "removed" if self.after is None else "changed"

    def diff(self) -> list[str]:
        """A unified diff of its YAML, a line each."""
        old, new = ([] if side is None else as_yaml(side).splitlines() for side in (self.before, self.after))
        return list(difflib.unified_diff(old, new, f"{self.name}", f"{self.name}  {self.place}", lineterm=""))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All changes, in the order in which they can be made."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()  # what files say that is not heeded

    @property
    def fingerprint(self) -> str:
        """Equal for equal changes of an equal configuration."""
        said = [(*change.name, change.before, change.after) for change in self.changes]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:12]

    def counts(self) -> dict[str, int]:
        """How many parts are made, changed and removed."""
        verbs = [change.verb for change in self.changes]
        return {verb: verbs.count(verb) for verb in ("made", "changed", "removed")}


def secrets_of(wanted: Wanted, environment: Mapping[str, str]) -> Secrets:
    """The secrets that channels name.

    Raises:
        InvalidInput: with each one that is not there or is none.
    """
    found, faults = {}, []
    for name, declared in wanted.parts.items():
        variable = declared.value.secret_env if isinstance(declared.value, ChannelEntry) else None
        if variable is not None:
            try:
                found[name.key] = _secret(variable, environment)
            except ValueError as error:
                faults.append(declared.told(Fault("#/secret_env", str(error))))
    if faults:
        raise refusal(faults)
    return found


def make_plan(wanted: Wanted, present: Present, secrets: Secrets, *, prune: bool) -> Plan:
    """What changes. With `prune` each section that is there is the whole of it."""
    changes = [
        Change(name=name, before=before, after=after, place=declared.place)
        for name, declared in sorted(wanted.parts.items(), key=_turn)
        for before, after in [_views(name, declared, present, secrets)]
        if before is None or not same(before, after)
    ]
    gone = [name for name in present.names if prune and name not in wanted.parts and _scope(name) in wanted.scopes]
    removals = [Change(name=name, before=present.view(name), after=None) for name in sorted(gone)]
    return Plan(changes=tuple(changes + removals), notes=tuple(_notes(wanted, present)))


def _turn(item: tuple[Name, Declared]) -> tuple[bool, Name]:
    """Experiments first: rules and avatars belong to them."""
    return item[0].kind != "experiment", item[0]


def _scope(name: Name) -> tuple[str, str]:
    return name.kind, name.experiment


def _views(name: Name, declared: Declared, present: Present, secrets: Secrets) -> tuple[Any, Any]:
    """A part as it is and as it is wanted, as concise JSON."""
    before, value = present.view(name), declared.value
    if isinstance(value, ExperimentEntry):
        state = {} if before is not None or isinstance(value.state, msgspec.UnsetType) else {"state": value.state}
        return before, {**state, **concise(value.specification())}
    if isinstance(value, ChannelEntry):
        return before, {"url": value.url, **_secret_view(name, value, present, secrets)}
    return before, concise(value)


def _secret_view(name: Name, value: ChannelEntry, present: Present, secrets: Secrets) -> dict[str, str]:
    """Nothing when the secret stays as it is; never the secret itself."""
    channel = present.channels.get(name.key)
    stays = name.key not in secrets or (channel is not None and channel.secret == secrets[name.key])
    return {} if stays else {"secret": f"another, that of {value.secret_env}"}


def _secret(variable: str, environment: Mapping[str, str]) -> str:
    text = value_of(environment, variable)
    if text == "":
        raise ValueError(f"neither {variable} nor {variable}{FILE} is set; the channel's secret is read from there")
    try:
        return msgspec.convert(text, ChannelSecret)
    except msgspec.ValidationError as error:
        raise ValueError(f"{variable} holds no secret: 16 to 256 characters are wanted, not {len(text)}") from error


def _notes(wanted: Wanted, present: Present) -> Sequence[str]:
    return [
        f"{name} stays {state}: `state: {value.state}` ({declared.place}) counts only when it is made"
        for name, declared in wanted.parts.items()
        if isinstance(value := declared.value, ExperimentEntry) and name.key in present.experiments
        for state in [_state(present, name.key)]
        if not isinstance(value.state, msgspec.UnsetType) and value.state != state
    ]


def _state(present: Present, key: str) -> State:
    return present.experiments[key][0]
