"""Random valid configuration: whatever the types of its parts allow."""

from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from app.avatars import AvatarRequest
from app.configuration.shape import ExperimentEntry
from app.errors import InvalidInput
from app.recommenders import AnyRecommender
from app.specification import AnyMemory, Metric, Override, check
from bandits.policy import POLICIES
from monitoring.alert_rules import AnyRule
from tests.conformance.experiments import configurations

KEYS = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)

# What YAML makes something else of unless it is quoted is likely to be among these.
_WORDS = st.sampled_from(
    ["yes", "no", "null", "~", "1e5", "12:30", "0x10", "2026-01-01", "- a", "#", "a: b", "é", " a"]
)
_TEXT = _WORDS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@cache
def parts_of(type_: Any) -> st.SearchStrategy[Any]:
    """JSON of a type, as msgspec describes it; what its own checks refuse is left out."""
    return _values(inspect.type_info(type_)).filter(lambda value: _reads(value, type_))


@st.composite
def entries(draw: st.DrawFn) -> ExperimentEntry:
    """A whole experiment with its rules and avatars, of one to four arms."""
    keys = draw(st.lists(KEYS, min_size=1, max_size=4, unique=True))
    optional = {
        "control": st.none() | st.sampled_from(keys),
        "policy": st.sampled_from(sorted(POLICIES)).flatmap(lambda kind: configurations(kind, keys)),
        "reward": st.fixed_dictionaries({"metric": KEYS, "window_s": st.floats(1, 1000), "late_until_s": st.just(2e3)}),
        "metrics": st.lists(parts_of(Metric), max_size=3),
        "memory": parts_of(AnyMemory),
        "overrides": st.lists(parts_of(Override), max_size=2),
        "holdout": st.floats(0, 1, exclude_max=True),
        "fallback": st.lists(_TEXT.filter(bool), max_size=3),
        "shadow": st.none() | st.fixed_dictionaries({"policy": st.just({"kind": "ucb"})}),
        "state": st.sampled_from(["draft", "running", "paused"]),
        "alert_rules": st.dictionaries(KEYS, parts_of(AnyRule), max_size=2),
        "avatars": st.dictionaries(KEYS, parts_of(AvatarRequest).map(lambda one: {**one, "arms": None}), max_size=2),
    }
    arms = [{"key": key, "recommender": draw(parts_of(AnyRecommender))} for key in keys]
    body = draw(st.fixed_dictionaries({"arms": st.just(arms)}, optional=optional).filter(_is_valid))
    return msgspec.convert(msgspec.to_builtins(body), ExperimentEntry)


def _is_valid(body: dict[str, Any]) -> bool:
    if any(override["arm"] not in {arm["key"] for arm in body["arms"]} for override in body.get("overrides", [])):
        body["overrides"] = []
    try:
        check(msgspec.convert(msgspec.to_builtins(body), ExperimentEntry).specification())
    except (InvalidInput, msgspec.ValidationError):
        return False
    return True


def _reads(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 - a line for each type
    match info:
        case inspect.Metadata():
            return _values(info.type)
        case inspect.UnionType():
            return st.one_of([_values(option) for option in info.types])
        case inspect.StructType():
            fields = {field.encode_name: _values(field.type) for field in info.fields}
            required = {field.encode_name: fields.pop(field.encode_name) for field in info.fields if field.required}
            tag = {info.tag_field: st.just(info.tag)} if info.tag_field else {}
            return st.fixed_dictionaries({**tag, **required}, optional=fields)
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.IntType():
            return st.integers(info.ge, info.le)
        case inspect.FloatType():
            return _floats(info)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.StrType():
            return _texts(info)
        case inspect.VarTupleType():
            return st.lists(_values(info.item_type), min_size=info.min_length or 0, max_size=3)
        case inspect.DictType():
            return st.dictionaries(_values(info.key_type), _values(info.value_type), max_size=3)
    return _JSON


def _floats(info: inspect.FloatType) -> st.SearchStrategy[float]:
    low, high = (info.gt if info.ge is None else info.ge), (info.lt if info.le is None else info.le)
    return st.floats(
        -1e12 if low is None else low,
        1e12 if high is None else high,
        exclude_min=info.gt is not None,
        exclude_max=info.lt is not None,
    )


def _texts(info: inspect.StrType) -> st.SearchStrategy[str]:
    if info.pattern is None:
        return _TEXT.filter(lambda text: len(text) >= (info.min_length or 0))
    return KEYS | st.sampled_from(["http://127.0.0.1:9/recommend", "module:function"])
