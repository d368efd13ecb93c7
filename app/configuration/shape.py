"""What a file of configuration holds. Sections are mappings by key, so that two files can be read as one."""

from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.schemas import ChannelUrl
from app.avatars import AvatarRequest
from app.specification import ExperimentRequest, Key
from monitoring.alert_rules import AnyRule

__all__ = ["ChannelEntry", "Document", "ExperimentEntry", "Kind", "Name", "Part"]

Kind = Literal["experiment", "alert rule", "alert channel", "avatar"]


class Name(NamedTuple):
    """Which part of the configuration is meant."""

    kind: Kind
    experiment: str  # whose it is; '': a rule for every experiment, or a channel
    key: str

    def __str__(self) -> str:
        """As people read it."""
        whose = f"{self.experiment}/" if self.experiment else ""
        return f"{self.kind} {self.key if self.kind == 'experiment' else whose + self.key}"


class ExperimentEntry(ExperimentRequest, frozen=True, kw_only=True):
    """`experiments.<key>`: the specification, the state to create it in, and what belongs to it."""

    alert_rules: dict[Key, AnyRule] | UnsetType = UNSET
    avatars: dict[Key, AvatarRequest] | UnsetType = UNSET


class ChannelEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`alert_channels.<key>`: a webhook. Its secret is never in a file."""

    url: ChannelUrl
    secret_env: Annotated[
        str | None,
        Meta(description="The variable that holds the secret, or with _FILE behind it the file's name; null: as it is"),
    ] = None


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One YAML document."""

    experiments: dict[Key, ExperimentEntry] | UnsetType = UNSET
    alert_rules: dict[Key, AnyRule] | UnsetType = UNSET
    alert_channels: dict[Key, ChannelEntry] | UnsetType = UNSET


Part: TypeAlias = ExperimentEntry | AnyRule | AvatarRequest | ChannelEntry
"""The value of one name."""
