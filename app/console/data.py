"""The data of an experiment: what has drifted, how good its windows are, and what is in quarantine."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app import alerts, quarantine
from app.api.query import moment, whole
from app.console.asking import Question, ask
from app.console.charts import MOST_LINES, Chart, answer
from app.console.rendering import rendered
from app.console.scope import Scope, of_experiment
from app.console.security import operator, operators_only, services, viewers
from app.errors import InvalidInput
from app.reports.data_series import (
    QualityFigure,
    by_feature,
    drift_pass,
    limits_of,
    quality_figures,
    scores_over_time,
    shares_of_data,
)
from app.store.drift_results import DATASET
from app.store.quarantine import Filter

__all__ = ["blueprint"]

blueprint = Blueprint("data", __name__, url_prefix="/data")

_RANGES: Final = ("24h", "7d", "30d")
_CARDS: Final = 12
_ENTRIES: Final = 50
_OF_FEATURES: Final = 20
_MOST_ALERTS: Final = 200
_STATES: Final = ("open", "replayed", "discarded")


@blueprint.get("")
@viewers
@of_experiment(*_RANGES, usual="7d")
def show(scope: Scope) -> str:
    """The page."""
    database, key = services().database, scope.experiment.key
    found = drift_pass(database, key, moment("window"))
    features = by_feature(found.window) if found.window else []
    page = whole("page", 1, low=1, high=1000)
    ended, figures = quality_figures(database, key)
    return rendered(
        "data.html",
        scope=scope,
        found=found,
        cards=features[_CARDS * (page - 1) : _CARDS * page],
        features=features,
        page=page,
        last_page=-(-len(features) // _CARDS),
        ended=ended,
        figures=[one for one in figures if one.feature is None],
        of_features=_worst(figures),
        limits=limits_of(database, key),
        firing=_firing(key),
        counts=quarantine.counted(database, key),
    )


@blueprint.get("/charts/<any(drift, share, quality):name>")
@blueprint.get("/charts/<any(drift, share, quality):name>.<any(json):form>")
@viewers
@of_experiment(*_RANGES, usual="7d")
def chart(scope: Scope, name: str, form: str = "html") -> Response:
    """The data of a chart, as JSON or as a table."""
    return answer(_CHARTS[name](scope), form, back=("Data", scope.url("data.show")))


@blueprint.get("/quarantine")
@viewers
@of_experiment(usual="")
def entries(scope: Scope) -> str:
    """Entries, the newest first, a page at a time."""
    state, reason = request.args.get("state", "open"), request.args.get("reason") or None
    wanted = Filter(experiment=scope.experiment.key, reason=reason, state=state if state in _STATES else None)
    before = whole("before", 0, low=0, high=2**53) or None
    database = services().database
    page = quarantine.listed(database, wanted, before=before, limit=_ENTRIES)
    return rendered(
        "quarantine.html",
        scope=scope,
        entries=page,
        next_before=page[-1]["id"] if len(page) == _ENTRIES else None,
        before=before,
        state=state,
        states=_STATES,
        reason=reason,
        counts=quarantine.counted(database, scope.experiment.key),
        done=request.args.get("done", ""),
        settled=request.args.get("settled", 0, type=int),
        refused=request.args.get("refused", 0, type=int),
    )


@blueprint.get("/quarantine/<any(replay, discard):action>")
@operators_only
def confirm(action: str) -> str:
    """Says what will be done with which entries, and asks."""
    ids, experiment, reason = _selection(request.args)
    what = f"{len(ids)} chosen entries" if ids else f"All open entries of {experiment} with the reason {reason}"
    consequence = (
        "They are tried again as if they came now; what is refused again stays."
        if action == "replay"
        else "They are marked as of no use. They can be looked at until they are too old."
    )
    return ask(
        Question(
            title="Replay" if action == "replay" else "Discard",
            consequence=consequence,
            about=[what],
            to=url_for("data.settle", action=action),
            back=url_for("data.entries", experiment=experiment, reason=reason or None),
            hidden=[("experiment", experiment), ("reason", reason), *(("ids", number) for number in ids)],
            is_grave=action == "discard",
        )
    )


@blueprint.post("/quarantine/<any(replay, discard):action>")
@operators_only
def settle(action: str) -> AnyResponse:
    """Tries entries again, or marks them as of no use."""
    ids, experiment, reason = _selection(request.form)
    wanted = Filter(ids=ids) if ids else Filter(experiment=experiment, reason=reason)
    database, actor = services().database, operator().name
    refused = 0
    if action == "replay":
        results = quarantine.replay(database, wanted, actor=actor).results
        refused = sum(result.status == "rejected" for result in results)
        settled = len(results) - refused
    else:
        settled = len(quarantine.discard(database, wanted, actor=actor).ids)
    back = url_for("data.entries", experiment=experiment, done=action, settled=settled, refused=refused)
    return redirect(back, 303)


def _selection(values: Any) -> tuple[list[int], str, str]:  # noqa: ANN401 - a MultiDict
    """The ids of the entries that are meant, or else the experiment and the reason of all that are."""
    ids = [int(text) for text in values.getlist("ids")[:1000] if text.isdecimal()]
    experiment, reason = values.get("experiment", ""), values.get("reason", "")
    if not ids and not (experiment and reason):
        raise InvalidInput.at("#/ids", "choose entries first, or a reason: then all open entries with it are meant")
    return ids, experiment, reason


def _worst(figures: Sequence[QualityFigure]) -> list[QualityFigure]:
    """Figures of features that are not 0, the largest first."""
    found = [one for one in figures if one.feature is not None and one.newest.value]
    return sorted(found, key=lambda one: -(one.newest.value or 0.0))[:_OF_FEATURES]


def _firing(key: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Firing alerts by rule."""
    rows = alerts.listed(services().database, experiment=key, states=["firing"], before=None, limit=_MOST_ALERTS)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["rule"], []).append(row)
    return found


def _drift(scope: Scope) -> Chart:
    newest = drift_pass(services().database, scope.experiment.key, None).window
    named = request.args.get("feature")
    features = [named] if named else [one.feature for one in (by_feature(newest) if newest else [])[:MOST_LINES]]
    x, series = scores_over_time(services().database, scope.experiment.key, scope.steps, features)
    return Chart(
        title="Drift scores",
        kind="line",
        format="number",
        x=x,
        series=series,
        thresholds=[("drifted from", 1.0)],
        note="Of the features that have drifted most now; at the end of each closed window.",
        **scope.time_axis(),
    )


def _share(scope: Scope) -> Chart:
    x, series = scores_over_time(services().database, scope.experiment.key, scope.steps, [DATASET])
    limit = limits_of(services().database, scope.experiment.key).share
    return Chart(
        title="Share of the context's features that have drifted",
        kind="line",
        format="percent",
        x=x,
        series=[type(one)(arm="drifted", values=one.values) for one in series],
        thresholds=[] if limit is None else [("alert from", limit)],
        note="At the end of each closed window. The alert wants several windows in a row.",
        **scope.time_axis(),
    )


def _quality(scope: Scope) -> Chart:
    database, key = services().database, scope.experiment.key
    _, figures = quality_figures(database, key)
    whole_ = [one for one in figures if one.feature is None]
    largest = sorted(whole_, key=lambda one: -max((step or 0.0 for step in one.steps), default=0.0))
    metrics = [one.metric for one in largest if one.metric != "silent_share"][:MOST_LINES]
    x, series = shares_of_data(database, key, scope.steps, metrics)
    limits = limits_of(database, key).figures
    values = sorted({limits[metric][1] for metric in metrics if metric in limits})
    return Chart(
        title="Shares of what should not be there",
        kind="line",
        format="percent",
        x=x,
        series=[type(one)(arm=one.arm.removesuffix("_share").replace("_", " "), values=one.values) for one in series],
        thresholds=[("alerts from", value) for value in values],
        note="The largest ones, by the end of each closed window. The table above has the limit of each.",
        **scope.time_axis(),
    )


_CHARTS: Final = {"drift": _drift, "share": _share, "quality": _quality}
