"""From what a caller writes to a target policy."""

from pathlib import Path

import msgspec

from app.errors import InvalidInput
from bandits.policy import AnyPolicy
from bandits.targets import Learned, OneArm, Shares, Target, Uniform

__all__ = ["target_of"]

_FORMS = "uniform, arm=KEY, probabilities=JSON or policy=JSON"


def target_of(text: str, *, reward_model: str = "bernoulli") -> Target:
    """The target that a text names.

    Args:
        text: `uniform`, `arm=KEY`, `probabilities={"a": 0.7, "b": 0.3}` or `policy={"kind": "thompson_sampling"}`.
            In place of JSON the name of a file that holds it will do.
        reward_model: what a policy takes the rewards for.

    Raises:
        InvalidInput: it is none of these, or its JSON is wrong.
    """
    form, _, value = text.partition("=")
    try:
        if text == "uniform":
            return Uniform()
        if form == "arm" and value:
            return OneArm(value)
        if form == "probabilities":
            return Shares(msgspec.json.decode(_json(value), type=dict[str, float]))
        if form == "policy":
            return Learned(msgspec.json.decode(_json(value), type=AnyPolicy), reward_model)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput(detail=f"The target's {form} cannot be used: {error}") from error
    raise InvalidInput(detail=f"{text!r} is no target; give {_FORMS}")


def _json(value: str) -> bytes:
    """The JSON itself, or the content of the file of that name."""
    if value.lstrip().startswith("{"):
        return value.encode()
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise InvalidInput(detail=f"{value!r} is neither a JSON object nor a file that can be read: {error}") from error
