"""Which words could stand where a request has another: kinds of tagged unions, and values of literals."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import inspect

__all__ = ["choices"]

_Lists = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType


def choices(type_: Any, steps: Iterable[str]) -> list[str]:  # noqa: ANN401 - types of unions are no `type`
    """The words of a type at a place, given as names of members and indices of lists; none where any text may be."""
    found = list(_alternatives(inspect.type_info(type_)))
    for step in steps:
        found = [option for info in found for part in _parts(info, step) for option in _alternatives(part)]
    return [str(value) for info in found if isinstance(info, inspect.LiteralType) for value in info.values]


def _alternatives(info: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a value may have, without unions and metadata."""
    if isinstance(info, inspect.UnionType):
        for option in info.types:
            yield from _alternatives(option)
    elif isinstance(info, inspect.Metadata):
        yield from _alternatives(info.type)
    else:
        yield info


def _parts(info: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """The type of what is one step inside."""
    if isinstance(info, inspect.StructType):
        if step == info.tag_field:
            yield inspect.LiteralType((str(info.tag),))
        yield from (field.type for field in info.fields if field.encode_name == step)
    elif isinstance(info, _Lists):
        yield info.item_type
