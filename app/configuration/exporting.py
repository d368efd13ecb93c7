"""The configuration in force as a file that, applied, changes nothing."""

from collections.abc import Sequence
from typing import Any

from app.configuration.present import Present, read_present
from app.configuration.shape import Kind
from app.configuration.text import as_yaml, concise
from app.errors import NotFound
from app.store import experiments
from app.store.database import Database

__all__ = ["export_configuration"]

_HEAD = """\
# The configuration of Croupier, without what is as by default. `croupier apply FILE` brings it back.
"""
_SECRETS = """\
# Secrets of channels are not here: where a channel is new, name in `secret_env` the variable that holds its secret.
"""


def export_configuration(database: Database, keys: Sequence[str]) -> str:
    """YAML of these experiments; without keys of all, and of rules for every one and channels too.

    Raises:
        NotFound: an experiment does not exist.
    """
    with database.transaction(snapshot=True) as connection:
        wanted = keys or [experiment.key for experiment in experiments.all_of(connection)]
        present = read_present(connection, wanted, lock=False)
    missing = sorted(set(wanted) - present.experiments.keys())
    if missing:
        raise NotFound(f"There is no experiment {missing[0]!r}")
    document = {"experiments": {key: _entry(present, key) for key in sorted(wanted)}}
    if keys:
        return _HEAD + as_yaml(document)
    shared = {"alert_rules": _of(present, "alert rule", ""), "alert_channels": _of(present, "alert channel", "")}
    return _HEAD + (_SECRETS if present.channels else "") + as_yaml({**document, **shared})


def _entry(present: Present, key: str) -> dict[str, Any]:
    state, specification = present.experiments[key]
    parts = {"alert_rules": _of(present, "alert rule", key), "avatars": _of(present, "avatar", key)}
    return {"state": state, **concise(specification), **{name: part for name, part in parts.items() if part}}


def _of(present: Present, kind: Kind, experiment: str) -> dict[str, Any]:
    names = sorted(name for name in present.names if name.kind == kind and name.experiment == experiment)
    return {name.key: present.view(name) for name in names}
