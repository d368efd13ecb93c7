"""All that is wrong with the shape of a value: decoding stops at the first fault, and people want to hear of each."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import msgspec
from msgspec import Struct, UnsetType

from app.api.codec import decode
from app.errors import Fault, InvalidInput

__all__ = ["decoded", "escaped", "refusal"]


def decoded(value: Any, type_: Any) -> Any:  # noqa: ANN401 - JSON in, a value of the type out
    """A JSON value as a value of a type.

    Raises:
        InvalidInput: with every fault of its parts.
    """
    try:
        return decode(msgspec.json.encode(value), type_)
    except InvalidInput as error:
        raise InvalidInput(*(list(_of_parts(value, type_)) or error.faults)) from error
    except TypeError as error:
        raise InvalidInput.at("#", f"JSON could not say this: {error}") from error


def refusal(faults: Sequence[Fault]) -> InvalidInput:
    """One error of many faults, for people who read lines."""
    return InvalidInput(*faults, detail="\n".join(f"{fault.pointer}: {fault.detail}" for fault in faults))


def escaped(step: str) -> str:
    """A name as a JSON pointer has it (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _of_parts(value: Any, type_: Any) -> Iterator[Fault]:  # noqa: ANN401
    """The faults of the parts of a value that has some; none when only the whole can be at fault."""
    for shape in _alternatives(type_, value):
        if isinstance(shape, type) and issubclass(shape, Struct) and isinstance(value, dict):
            yield from _of_struct(value, shape)
        elif get_origin(shape) is dict and isinstance(value, dict):
            key_type, member_type = get_args(shape)
            for key, member in value.items():
                yield from _inside(escaped(str(key)), key, key_type)
                yield from _inside(escaped(str(key)), member, member_type)
        elif get_origin(shape) is tuple and get_args(shape)[-1] is Ellipsis and isinstance(value, list):
            for index, element in enumerate(value):
                yield from _inside(str(index), element, get_args(shape)[0])


def _of_struct(value: dict[str, Any], shape: type[Struct]) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    tag_field = shape.__struct_config__.tag_field
    known = [*fields, *([tag_field] if tag_field else [])]
    for name, member in value.items():
        if name in fields:
            yield from _inside(escaped(name), member, fields[name].type)
        elif name not in known:
            yield Fault(f"#/{escaped(str(name))}", f"there is no such field; choose one of {', '.join(known)}")
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault("#", f"Object missing required field `{name}`")


def _inside(step: str, value: Any, type_: Any) -> Iterator[Fault]:  # noqa: ANN401
    """The faults of one member, with pointers from here."""
    try:
        decoded(value, type_)
    except InvalidInput as error:
        for fault in error.faults:
            yield Fault(f"#/{step}{fault.pointer[1:]}", fault.detail)


def _alternatives(type_: Any, value: Any) -> list[Any]:  # noqa: ANN401
    """The one type that a value is meant to have, without metadata; of several structs the one of its kind."""
    if get_origin(type_) is Annotated:
        return _alternatives(get_args(type_)[0], value)
    if get_origin(type_) not in {Union, UnionType}:
        return [type_]
    options = [option for option in get_args(type_) if option not in {type(None), UnsetType}]
    if len(options) == 1:
        return _alternatives(options[0], value)
    return [option for option in options if isinstance(value, dict) and _tag_of(option) == _kind(value, option)]


def _tag_of(option: Any) -> object:  # noqa: ANN401
    return cast("type[Struct]", option).__struct_config__.tag


def _kind(value: dict[str, Any], option: Any) -> object:  # noqa: ANN401
    return value.get(cast("type[Struct]", option).__struct_config__.tag_field or "")
