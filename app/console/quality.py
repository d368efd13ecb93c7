"""The quality of recommendations by arm over time: what lists were worth, offline and online side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, abort, request

from app.console.charts import Chart, Format, answer
from app.console.rendering import rendered
from app.console.scope import Scope, of_experiment
from app.console.security import services, viewers
from app.reports.figures import DayFigures, days_by_arm, newest_day
from app.store.metric_values import Level

__all__ = ["blueprint"]

blueprint = Blueprint("quality", __name__, url_prefix="/quality")

_RANGES: Final = ("7d", "30d", "90d")
_USUAL_K: Final = 10
_ACCURACY: Final = {
    "ndcg": "NDCG",
    "precision": "Precision",
    "recall": "Recall",
    "hit_rate": "Hit rate",
    "average_precision": "Average precision",
    "reciprocal_rank": "Reciprocal rank",
}


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A metric as the page shows it."""

    level: Level
    metric: str
    title: str
    note: str
    format: Format = "number"
    is_cut: bool = True  # depends on the cut-off


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Metrics that belong together."""

    title: str
    metrics: Sequence[_Shown]


def _online(metric: str, title: str, note: str, format_: Format = "number") -> _Shown:
    return _Shown(level="online", metric=metric, title=title, note=note, format=format_, is_cut=False)


def _offline(metric: str, title: str, note: str, format_: Format = "number") -> _Shown:
    return _Shown(level="offline", metric=metric, title=title, note=note, format=format_)


def _groups(accuracy: str) -> tuple[_Group, ...]:
    """What is shown, for a metric of accuracy."""
    name = _ACCURACY[accuracy]
    liked_here = "What the unit liked of this very list. Higher is better."
    liked = "What the unit liked that day, through any list. Flatters arms that are shown more."
    return (
        _Group(
            title="Accuracy",
            metrics=(
                _Shown(level="offline", metric=accuracy, title=f"{name}, offline", note=liked),
                _Shown(level="online", metric=accuracy, title=f"{name}, online", note=liked_here),
            ),
        ),
        _Group(
            title="What came of it",
            metrics=(
                _online("reward_rate", "Reward rate, online", "Share of exposures with a reward.", "percent"),
                _online("value_per_decision", "Value per decision, online", "Mean reward of an exposure."),
            ),
        ),
        _Group(
            title="Beyond accuracy",
            metrics=(
                _offline("novelty", "Novelty, offline", "Bits: how rarely the items were liked before."),
                _offline(
                    "intra_list_diversity", "Diversity, offline", "How unlike the items of a list are, by features."
                ),
                _offline("serendipity", "Serendipity, offline", "Liked, and unlike what the unit liked before."),
                _offline("coverage", "Coverage, offline", "Share of the catalogue that was shown.", "percent"),
                _offline("popularity_quantile", "Popularity, offline", "1: only the most popular items are shown."),
                _offline("personalization", "Personalization, offline", "How unlike the lists of two units are."),
            ),
        ),
    )


@blueprint.get("")
@viewers
@of_experiment(*_RANGES, usual="30d")
def show(scope: Scope) -> str:
    """The page."""
    day = newest_day(services().database, scope.experiment.key)
    cutoffs = day.cutoffs if day and day.cutoffs else [_USUAL_K]
    k, accuracy = _cutoff(cutoffs), _accuracy()
    return rendered(
        "quality.html",
        scope=scope,
        groups=_groups(accuracy),
        day=day,
        rows=_rows(scope, day),
        k=k,
        cutoffs=cutoffs,
        accuracy=accuracy,
        accuracies=_ACCURACY,
    )


@blueprint.get("/charts/<any(online, offline):level>/<metric>")
@blueprint.get("/charts/<any(online, offline):level>/<metric>.<any(json):form>")
@viewers
@of_experiment(*_RANGES, usual="30d")
def chart(scope: Scope, level: Level, metric: str, form: str = "html") -> Response:
    """A metric by arm and day, as JSON or as a table."""
    every = [one for group in _groups(_accuracy()) for one in group.metrics]
    shown = next((one for one in every if (one.level, one.metric) == (level, metric)), None) or abort(404)
    k, lines = request.args.get("k", _USUAL_K, type=int), scope.lines()
    x, series = days_by_arm(
        services().database, scope.experiment.key, level=level, metric=metric, k=k, steps=scope.steps, arms=lines
    )
    found = Chart(
        title=f"{shown.title} at {k}" if shown.is_cut else shown.title,
        kind="line",
        format=shown.format,
        x=x,
        series=series,
        colours=lines,
        note=f"By arm and UTC day. {shown.note}",
        **scope.time_axis(),
    )
    return answer(found, form, back=("Quality", scope.url("quality.show", k=k, accuracy=_accuracy())))


def _accuracy() -> str:
    asked = request.args.get("accuracy", "")
    return asked if asked in _ACCURACY else "ndcg"


def _cutoff(cutoffs: Sequence[int]) -> int:
    asked = request.args.get("k", _USUAL_K, type=int)
    return asked if asked in cutoffs else cutoffs[-1]


def _rows(scope: Scope, day: DayFigures | None) -> list[str]:
    """Arms that have a figure on the newest day, in the order of the specification; '' is all arms together."""
    present = {place[3] for place in day.values} if day else set()
    return [arm for arm in ("", *scope.experiment.specification.arm_keys) if arm in present]
