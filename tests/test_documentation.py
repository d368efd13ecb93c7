"""The reference page against the code."""

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from sqlalchemy import Table

from app import create_app
from app.api.schemas import (
    AllFlags,
    ChannelRequest,
    ExposureRequest,
    FeedbackRequest,
    FlagAnswer,
    FlagMetadata,
    FlagRequest,
    IssuedKey,
    ItemRequest,
    KeyRequest,
    KeyView,
    PinRequest,
    QuarantineSelection,
    RecommendationAnswer,
    RecommendationRequest,
    RotationRequest,
    SilenceRequest,
)
from app.avatars import AvatarRequest, Expectation
from app.cli import batch, export
from app.configuration.command import apply_command
from app.configuration.shape import ChannelEntry, Document, ExperimentEntry
from app.evaluation import EvaluationReport
from app.evaluation.command import evaluate
from app.evaluation.experiment import EvaluationRequest, ExperimentEvaluation
from app.evaluation.report import EstimateReport, LogReport, OverlapReport
from app.export import obp, parquet
from app.metric_series import SeriesPage
from app.preview import ArmPreview, Preview
from app.quarantine import Replayed, Result
from app.recommenders import AnyRecommender
from app.reports import (
    ArmOrderReport,
    ArmReport,
    ArmShares,
    ArmsReport,
    ArmValue,
    AssociationReport,
    DayValue,
    EdgeReport,
    Lift,
    NodeReport,
    Outcomes,
    QualityReport,
    SampleRatioReport,
    UnitSample,
)
from app.reports.data import DataFigure, DataWindow, DriftFeature, DriftWindow
from app.reports.states import Exposure, OutcomeState
from app.services import Services
from app.serving.verdicts import Reason
from app.settings import Settings, variable_of
from app.shadow import ShadowReport, ShadowShare
from app.simulation.command import simulate_command
from app.simulation.results import Injection, Phase, SimulationResult
from app.simulation.scenarios import SCENARIOS
from app.specification import AnyMemory, Arm, ExperimentRequest, Metric, Override, Reward, Shadow, WarmStart
from app.store.avatars import Look
from app.store.metric_values import MetricValue
from app.store.tables import alert_channels, alert_silences, alerts, quarantine
from app.units.erase import Erased
from app.units.shapes import Assigned, Figures, Summary, UnitDecision, UnitExperiment, UnitItem, UnitStory
from bandits.epsilon_greedy import DecreasingEpsilon
from bandits.evaluation import ESTIMATORS
from bandits.policy import POLICIES
from bandits.posteriors import REWARD_MODELS
from monitoring.alert_rules import DEFAULT_RULES, AnyRule
from monitoring.instruments import INSTRUMENTS

_REFERENCE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()
_IMPLIED_METHODS = {"HEAD", "OPTIONS"}
_SHAPES = (
    RecommendationRequest,
    RecommendationAnswer,
    FlagRequest,
    FlagAnswer,
    FlagMetadata,
    AllFlags,
    FeedbackRequest,
    ExposureRequest,
    QuarantineSelection,
    Replayed,
    Result,
    ArmsReport,
    ArmReport,
    Outcomes,
    Lift,
    SampleRatioReport,
    ArmShares,
    QualityReport,
    UnitSample,
    NodeReport,
    ArmValue,
    DayValue,
    EdgeReport,
    AssociationReport,
    ArmOrderReport,
    ExperimentRequest,
    ExperimentEntry,
    ChannelEntry,
    Document,
    Arm,
    Reward,
    Metric,
    Override,
    PinRequest,
    SilenceRequest,
    ChannelRequest,
    AvatarRequest,
    Expectation,
    Preview,
    ArmPreview,
    Look,
    KeyRequest,
    KeyView,
    IssuedKey,
    RotationRequest,
    *get_args(AnyRule),
    WarmStart,
    Shadow,
    ShadowReport,
    ShadowShare,
    DriftWindow,
    DriftFeature,
    DataWindow,
    DataFigure,
    ItemRequest,
    UnitStory,
    UnitDecision,
    UnitItem,
    Exposure,
    OutcomeState,
    Summary,
    UnitExperiment,
    Assigned,
    Figures,
    Erased,
    EvaluationReport,
    EvaluationRequest,
    ExperimentEvaluation,
    LogReport,
    OverlapReport,
    EstimateReport,
    SeriesPage,
    MetricValue,
    SimulationResult,
    Injection,
    Phase,
    *POLICIES.values(),
    DecreasingEpsilon,
    *get_args(AnyRecommender),
    *get_args(AnyMemory),
    *(model.prior for model in REWARD_MODELS.values()),
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
        path = re.sub(r"<(?:any\([^)]*\):|uuid:|path:|int:)?(\w+)>", r"{\1}", rule.rule)
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


def test_each_reason_for_quarantine_is_documented() -> None:
    """With every column that operators see."""
    words = [*get_args(Reason), *(column.name for column in quarantine.c if column.name != "fingerprint")]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


@pytest.mark.parametrize("table", [alerts, alert_silences, alert_channels], ids=lambda table: table.name)
def test_each_column_that_an_answer_shows_of_alerts_is_documented(table: Table) -> None:
    """Their rows are shown as they are."""
    assert [column.name for column in table.c if f"`{column.name}`" not in _REFERENCE] == []


def test_each_default_rule_is_documented_with_its_severity() -> None:
    """In the table of default rules."""
    page = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text()
    assert [key for key, rule in DEFAULT_RULES.items() if f"| `{key}` | {rule.severity} |" not in page] == []


def test_each_default_rule_has_its_section_of_the_runbook() -> None:
    """Whose anchor is the rule's key, which alerts link to; and no other rule has one."""
    page = (Path(__file__).parents[1] / "docs" / "runbook.md").read_text()
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == sorted(DEFAULT_RULES)


@pytest.mark.parametrize("shape", _SHAPES)
def test_each_field_is_documented(shape: type[msgspec.Struct]) -> None:
    """Every word that a request may hold, or an answer does, stands on the page; and every kind does."""
    tag = shape.__struct_config__.tag
    words = [*shape.__struct_encode_fields__, *([str(tag)] if tag else [])]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


def test_each_option_of_evaluate_is_documented() -> None:
    """Every option and every estimator stands on the page."""
    words = [*(parameter.opts[0] for parameter in evaluate.params), *ESTIMATORS]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


def test_each_option_of_batch_is_documented() -> None:
    """Every option stands on the page."""
    words = [parameter.opts[0] for parameter in batch.params if parameter.name != "experiments"]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


def test_each_option_of_apply_is_documented() -> None:
    """Every option stands on the page."""
    words = [parameter.opts[0] for parameter in apply_command.params if parameter.name != "files"]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


def test_each_option_of_simulate_is_documented() -> None:
    """Every option and every scenario stands on the page."""
    words = [*(parameter.opts[0] for parameter in simulate_command.params), *SCENARIOS]
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


def test_each_option_and_column_of_export_is_documented() -> None:
    """Every option, and every column of both formats, stands on the page."""
    words = [*(parameter.opts[0] for parameter in export.params if parameter.name != "experiment"), *obp.HEADER]
    words += parquet.schema(["{metric}"]).names
    assert [word for word in words if f"`{word}`" not in _REFERENCE] == []


@pytest.mark.parametrize("model", REWARD_MODELS)
def test_each_kind_of_reward_is_documented(model: str) -> None:
    """It has a row in the table of rewards and priors, with its prior's parameters in it."""
    (row,) = re.findall(rf"^\| `{model}` \|.*$", _REFERENCE, re.MULTILINE)
    assert [name for name in REWARD_MODELS[model].prior.__struct_fields__ if f"`{name}`" not in row] == []
