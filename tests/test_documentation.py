"""The reference page against the code."""

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from app import create_app
from app.api.schemas import FeedbackRequest, ItemRequest, RecommendationAnswer, RecommendationRequest
from app.recommenders import AnyRecommender
from app.reports import ArmReport, Outcomes
from app.services import Services
from app.settings import Settings, variable_of
from app.specification import Arm, ExperimentRequest, Metric, Reward
from bandits.epsilon_greedy import DecreasingEpsilon
from bandits.policy import POLICIES
from monitoring.instruments import INSTRUMENTS

_REFERENCE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()
_IMPLIED_METHODS = {"HEAD", "OPTIONS"}
_SHAPES = (
    RecommendationRequest,
    RecommendationAnswer,
    FeedbackRequest,
    ArmReport,
    Outcomes,
    ExperimentRequest,
    Arm,
    Reward,
    Metric,
    ItemRequest,
    *POLICIES.values(),
    DecreasingEpsilon,
    *get_args(AnyRecommender),
)


@pytest.mark.parametrize("setting", fields(Settings), ids=variable_of)
def test_each_setting_is_documented_with_its_default(setting: Field[Any]) -> None:
    """Variable, default and meaning stand in the table of settings."""
    default = "–" if setting.default is None else f"`{setting.default}`"
    assert f"| `{variable_of(setting)}` | {default} | {setting.metadata['doc']} |" in _REFERENCE


def test_each_endpoint_is_documented_with_its_scope() -> None:
    """Method, path and scope stand in the table of endpoints, and nothing else does."""
    app = create_app(Services.build(Settings(), "postgresql://nobody@nowhere/nothing"))
    expected = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:any\([^)]*\):|uuid:)?(\w+)>", r"{\1}", rule.rule)
        scope = getattr(app.view_functions[rule.endpoint], "scope", "nobody") or "open"
        expected |= {f"| `{method} {path}` | {scope} |" for method in (rule.methods or set()) - _IMPLIED_METHODS}
    assert set(re.findall(r"^\| `[A-Z]+ /[^`]*` \| \w+ \|", _REFERENCE, re.MULTILINE)) == expected


def test_the_table_of_instruments_is_documented() -> None:
    """Each instrument stands in the table with kind, unit, labels and meaning, and nothing else does."""
    expected = {
        f"| `{i.name}` | {i.kind} | `{i.unit}` | {', '.join(f'`{label}`' for label in i.labels) or '–'} | {i.help} |"
        for i in INSTRUMENTS
    }
    assert set(re.findall(r"^\| `[a-z_.]+` \| (?:counter|gauge|histogram) \|.*$", _REFERENCE, re.MULTILINE)) == expected


@pytest.mark.parametrize("shape", _SHAPES)
def test_each_field_is_documented(shape: type[msgspec.Struct]) -> None:
    """Every word that a request may hold, or an answer does, stands on the page; and every kind does."""
    tag = shape.__struct_config__.tag
    words = [*shape.__struct_encode_fields__, *([str(tag)] if tag else [])]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []
