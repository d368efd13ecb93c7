"""The configuration in force, as the database has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.avatars import AvatarRequest
from app.configuration.shape import Name
from app.configuration.text import concise
from app.specification import Specification, State
from app.store import alert_channels, alert_rules, avatars, experiments
from app.store import configuration as locks
from app.store.database import Connection
from monitoring.alert_rules import AnyRule

__all__ = ["Channel", "Present", "read_present"]


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A stored webhook."""

    url: str
    secret: str


@dataclass(frozen=True, kw_only=True)
class Present:
    """What is stored of some experiments, of the rules for every one, and of the channels."""

    experiments: Mapping[str, tuple[State, Specification]]
    channels: Mapping[str, Channel]
    others: Mapping[Name, Any]  # rules and avatars as concise JSON

    def view(self, name: Name) -> Any:  # noqa: ANN401 - JSON
        """A part as concise JSON; None: there is no such part."""
        if name.kind == "experiment":
            found = self.experiments.get(name.key)
            return None if found is None else concise(found[1])
        if name.kind == "alert channel":
            channel = self.channels.get(name.key)
            return None if channel is None else {"url": channel.url}
        return self.others.get(name)

    @property
    def names(self) -> list[Name]:
        """All that are stored."""
        of_experiments = [Name("experiment", key, key) for key in self.experiments]
        return [*of_experiments, *self.others, *(Name("alert channel", "", key) for key in self.channels)]


def read_present(connection: Connection, keys: Sequence[str], *, lock: bool) -> Present:
    """What is stored; with `lock` nobody else changes any of it before the transaction ends."""
    found = {key: experiments.find(connection, key, lock=lock) for key in sorted(keys)}
    if lock:
        locks.lock_shared_parts(connection)
    owners = {"", *keys}
    rules = {
        Name("alert rule", owner, key): _concise(raw, AnyRule)
        for (owner, key), raw in alert_rules.rows(connection).items()
        if owner in owners
    }
    looked_at = {
        Name("avatar", key, avatar.key): _concise(avatar.definition, AvatarRequest)
        for key in found
        for avatar in avatars.listed(connection, key)
    }
    return Present(
        experiments={key: (one.state, one.specification) for key, one in found.items() if one is not None},
        channels={key: Channel(url=url, secret=secret) for key, url, secret in alert_channels.with_secrets(connection)},
        others=rules | looked_at,
    )


def _concise(raw: Any, type_: Any) -> Any:  # noqa: ANN401 - JSON
    """A stored part as concise JSON; one that cannot be read any more as it is."""
    try:
        return concise(msgspec.convert(raw, type_))
    except msgspec.ValidationError:
        return raw
