"""What every policy promises about its declaration: documentation, limits, JSON."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from bandits.policy import POLICIES, AnyPolicy
from tests.conformance.experiments import Example

KEYS = ("a", "b", "c")


def _fields(kind: str) -> dict[str, dict[str, Any]]:
    """The JSON schema of each parameter but the kind itself, without "or null"."""
    return _fields_of(msgspec.json.schema(POLICIES[kind])["$defs"][POLICIES[kind].__name__])


def _nested_fields(kind: str) -> dict[str, dict[str, Any]]:
    """The same with the parameters inside of parameters."""
    structs = msgspec.json.schema(POLICIES[kind])["$defs"].items()
    return {f"{struct}.{name}": field for struct, schema in structs for name, field in _fields_of(schema).items()}


def _fields_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: _not_null(field) for name, field in schema["properties"].items() if name != "kind"}


def _not_null(field: dict[str, Any]) -> dict[str, Any]:
    return next((option for option in field.get("anyOf", []) if option.get("type") != "null"), field)


def _section(kind: str, title: str) -> str:
    match = re.search(rf"^{title}:\n((?:[ ]+.*\n?)+)", inspect.getdoc(POLICIES[kind]) or "", re.MULTILINE)
    assert match, f"{POLICIES[kind].__name__} needs a section {title}: in its docstring"
    return match[1]


def test_every_policy_has_examples(examples: Mapping[str, Mapping[str, Example]]) -> None:
    """A registered policy without examples would escape these checks."""
    assert {kind for kind, named in examples.items() if named} == POLICIES.keys()


def test_examples_are_of_their_kind(examples: Mapping[str, Mapping[str, Example]]) -> None:
    """The examples under a kind are policies of that kind."""
    for kind, named in examples.items():
        assert all(type(example(KEYS)) is POLICIES[kind] for example in named.values())


def test_docstring_is_complete(kind: str) -> None:
    """The docstring has a first line, the idea, an example that is valid, and a reference with a year."""
    text = inspect.getdoc(POLICIES[kind]) or ""
    assert text.splitlines()[0].endswith(".")
    assert "\nIdea: " in text
    assert type(msgspec.json.decode(_section(kind, "Example"), type=AnyPolicy)) is POLICIES[kind]
    assert re.search(r"\((\D*)(19|20)\d\d\)|, (19|20)\d\d\)", _section(kind, "Reference"))


def test_parameters_are_described(kind: str) -> None:
    """Each parameter has a description, from which schema and reference are made."""
    undescribed = [
        name for name, field in _nested_fields(kind).items() if not field.get("description", "").endswith(".")
    ]
    assert not undescribed


def test_numbers_have_limits(kind: str) -> None:
    """Each numeric parameter, and each number in a mapping, has a smallest and a largest value."""
    for name, field in _nested_fields(kind).items():
        number = field.get("additionalProperties", field)
        assert number.get("type") not in {"number", "integer"} or {"minimum", "maximum"} <= number.keys(), name


def test_numbers_outside_their_limits_are_refused(kind: str) -> None:
    """A parameter just beyond its declared limits is refused, with its name in the message."""
    for name, field in _fields(kind).items():
        if field.get("type") not in {"number", "integer"}:
            continue
        for value in (field["minimum"] - 1, field["maximum"] + 1):
            with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
                msgspec.json.decode(msgspec.json.encode({"kind": kind, name: value}), type=AnyPolicy)


def test_unknown_parameters_are_refused(kind: str) -> None:
    """A misspelt parameter is an error, not a default."""
    body = msgspec.json.encode({"kind": kind, "epsilom": 0.1})
    with pytest.raises(msgspec.ValidationError, match="epsilom"):
        msgspec.json.decode(body, type=AnyPolicy)


def test_json_round_trip(example: Example) -> None:
    """A policy written as JSON and read back is the same policy."""
    policy = example(KEYS)
    assert msgspec.json.decode(msgspec.json.encode(policy), type=AnyPolicy) == policy


def test_policies_are_frozen(example: Example) -> None:
    """Parameters cannot change after validation."""
    with pytest.raises(AttributeError):
        setattr(example(KEYS), "warm_up", 7)  # noqa: B010  # a type checker would refuse the plain assignment


def test_examples_fit_their_arms(example: Example) -> None:
    """The check against an experiment's arms passes for arms that fit."""
    example(KEYS).check(KEYS, "bernoulli")


def test_floors_that_do_not_fit_are_refused(example: Example) -> None:
    """A floor that the arms together cannot have is refused, and the message says what could be."""
    policy = msgspec.structs.replace(example(KEYS), min_propensity=0.4)
    with pytest.raises(ValueError, match=r"min_propensity 0\.4 × 3 arms exceeds 1: choose at most 0\.333333"):
        policy.check(KEYS, "bernoulli")
