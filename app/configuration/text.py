"""Configuration as YAML that people read: what is as by default is left out."""

from typing import Any

import msgspec
import yaml
from msgspec import NODEFAULT, Struct

__all__ = ["as_yaml", "concise"]


def concise(value: Any) -> Any:  # noqa: ANN401 - a part of the configuration in, JSON out
    """A struct as JSON, without the members that have their defaults; reading it gives the struct again."""
    if isinstance(value, Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field else {}
        return {**tag, **{name: concise(member) for name, member in _said(value)}}
    if isinstance(value, dict):
        return {key: concise(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [concise(element) for element in value]
    return msgspec.to_builtins(value)


def as_yaml(value: Any) -> str:  # noqa: ANN401 - JSON
    """JSON as a YAML document, in the order that it has."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _said(value: Struct) -> list[tuple[str, Any]]:
    members = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
    return [(field.encode_name, member) for field, member in members if not _is_default(field, member)]


def _is_default(field: msgspec.structs.FieldInfo, member: Any) -> bool:  # noqa: ANN401
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    return type(member) is type(default) and member == default


class _Dumper(yaml.SafeDumper):
    """Writes what `app.api.yaml.Loader` reads: without aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        return True
