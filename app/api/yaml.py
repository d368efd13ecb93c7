"""YAML in: only what JSON can say."""

import msgspec
import yaml

from app.errors import MalformedInput

__all__ = ["Loader", "json_of_yaml"]


class Loader(yaml.SafeLoader):
    """Without aliases: a few lines of them stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def json_of_yaml(body: bytes) -> bytes:
    """A YAML document as JSON.

    Raises:
        MalformedInput: it is not YAML, has aliases, or says what JSON cannot.
    """
    try:
        return msgspec.json.encode(yaml.load(body, Loader))  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput.at("#", f"The body is not YAML that JSON could say: {error}") from error
