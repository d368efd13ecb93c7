"""The rules in force: the default ones, replaced and joined by stored ones."""

from collections.abc import Mapping
from typing import Any

import msgspec

from monitoring.alert_rules import DEFAULT_RULES, AnyRule

__all__ = ["in_force"]


def in_force(stored: Mapping[tuple[str, str], Any], experiment: str) -> dict[str, AnyRule | str]:
    """An experiment's rules by key; in place of one that cannot be read, why.

    Args:
        stored: rules as JSON by (experiment, key); '' stands for every experiment.
        experiment: a stored rule of its own wins over one for all, and that over a default one.
    """
    found: dict[str, AnyRule | str] = dict(DEFAULT_RULES)
    for owner in ("", experiment):
        found |= {key: _rule(raw) for (of, key), raw in stored.items() if of == owner}
    return found


def _rule(raw: Any) -> AnyRule | str:  # noqa: ANN401 - JSON
    try:
        rule: AnyRule = msgspec.convert(raw, AnyRule)
    except msgspec.ValidationError as error:
        return f"the stored rule cannot be read: {error}"
    return rule
