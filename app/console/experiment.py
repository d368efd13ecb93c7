"""One experiment: is it safe to call a winner, what its arms do, how they did over time, and what can be done."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, abort, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app import alerts, experiments
from app.console.actions import ACTIONS, Subject, perform, possible
from app.console.charts import Chart, answer
from app.console.rendering import rendered
from app.console.scope import lines_of, time_axis_of
from app.console.security import operator, operators_only, services, viewers
from app.reports import arms_report
from app.reports import timeline as over_time
from app.reports.outlook import densities, next_allocation, read_belief
from app.reports.timeline import RANGES, Series
from app.reports.verdict import leader_of, verdict_of
from app.store.experiments import Experiment
from app.store.timeline import Steps

__all__ = ["blueprint"]

blueprint = Blueprint("experiment", __name__, url_prefix="/experiments/<key>")

_ALERTS: Final = 20
_CHANGES: Final = 10


@blueprint.get("")
@viewers
def show(key: str) -> str:
    """The page."""
    parts, now = services(), datetime.now(UTC)
    database = parts.database
    experiment, evidence = read_belief(database, key, now)
    report = arms_report(database, key, now)
    firing = alerts.listed(database, experiment=key, states=["firing", "pending"], before=None, limit=_ALERTS)
    severities = Counter(alert["severity"] for alert in firing if alert["state"] == "firing")
    range_ = _range(experiment, now)
    return rendered(
        "experiment.html",
        experiment=experiment,
        specification=experiment.specification,
        report=report,
        leader=leader_of(report),
        verdict=verdict_of(report, experiment, severities, now),
        coming={coming.arm: coming for coming in next_allocation(database, experiment, evidence)},
        alerts=firing,
        changes=experiments.audit_page(database, key, before=None, limit=_CHANGES)["entries"],
        events=list(reversed(over_time.events(database, key, over_time.steps_of(range_, now)))),
        range=range_,
        ranges=list(RANGES),
        now=now,
        moves=possible(experiment),
        of_arms=possible(experiment, "arm"),
        done=ACTIONS.get(request.args.get("done", "")),
    )


@blueprint.get("/charts/<any(share, rate, lift, density):name>")
@blueprint.get("/charts/<any(share, rate, lift, density):name>.<any(json):form>")
@viewers
def chart(key: str, name: str, form: str = "html") -> Response:
    """The data of a chart, as JSON or as a table."""
    now = datetime.now(UTC)
    experiment = experiments.get(services().database, key)
    steps = over_time.steps_of(_range(experiment, now), now)
    back = key, url_for("experiment.show", key=key, range=request.args.get("range"))
    return answer(_CHARTS[name](experiment, steps, now), form, back=back)


@blueprint.get("/actions/<name>")
@operators_only
def confirm(key: str, name: str) -> str:
    """Says what an action will do, and asks."""
    action = ACTIONS.get(name) or abort(404)
    experiment = experiments.get(services().database, key)
    return rendered("confirm.html", experiment=experiment, name=name, action=action, subject=_subject(request.args))


@blueprint.post("/actions/<name>")
@operators_only
def act(key: str, name: str) -> AnyResponse:
    """Does it."""
    if name not in ACTIONS:
        abort(404)
    parts, version = services(), request.form.get("version", type=int)
    subject = _subject(request.form)
    perform(parts.database, key, name, subject, version=version, actor=operator().name)
    parts.allocations.reload(key)
    return redirect(url_for("experiment.show", key=key, done=name), 303)


def _subject(values: Mapping[str, str]) -> Subject:
    return Subject(arm=values.get("arm", ""), unit=values.get("unit", ""))


def _range(experiment: Experiment, now: datetime) -> str:
    wanted = request.args.get("range", "")
    return wanted if wanted in RANGES else over_time.range_for(experiment, now)


def _share(experiment: Experiment, steps: Steps, now: datetime) -> Chart:  # noqa: ARG001 - as the other charts
    shown = lines_of(experiment)
    every = experiment.specification.arm_keys
    x, series = over_time.shares_over_time(services().database, experiment.key, steps, every)
    return Chart(
        title="Share of traffic",
        kind="stack",
        format="percent",
        x=x,
        series=_with_others(series, shown),
        note="Probability of each arm in the allocation that was in force.",
        **time_axis_of(experiment, steps),
    )


def _with_others(series: Sequence[Series], shown: Sequence[str]) -> list[Series]:
    """The arms that are shown, in their order, and all others as one."""
    by_arm = {one.arm: one for one in series}
    others = [one for one in series if one.arm not in shown]
    sums = [sum(value or 0.0 for value in values) for values in zip(*(one.values for one in others), strict=True)]
    rest = [Series(arm=f"{len(others)} others", values=sums)] if others else []
    return [by_arm[arm] for arm in shown if arm in by_arm] + rest


def _rate(experiment: Experiment, steps: Steps, now: datetime) -> Chart:
    x, series = over_time.rates_over_time(services().database, experiment.key, steps, lines_of(experiment), now)
    return Chart(
        title=f"Reward rate: {experiment.specification.reward.metric} per exposure",
        kind="line",
        format="number",
        x=x,
        series=series,
        note="Of each step alone, with a 95 % interval that is for one look only.",
        **time_axis_of(experiment, steps),
    )


def _lift(experiment: Experiment, steps: Steps, now: datetime) -> Chart:
    parts = services()
    shown = lines_of(experiment)
    x, series = over_time.lift_over_time(parts.database, experiment.key, steps, shown, now=now, aside=parts.aside)
    return Chart(
        title=f"Lift over {experiment.specification.control_arm}",
        kind="line",
        format="number",
        x=x,
        series=series,
        colours=shown,
        note="Of all outcomes of the present configuration up to then; the intervals hold at every look.",
        **time_axis_of(experiment, steps),
    )


def _density(experiment: Experiment, steps: Steps, now: datetime) -> Chart:  # noqa: ARG001 - as the other charts
    _, evidence = read_belief(services().database, experiment.key, now)
    x, curves = densities(evidence, lines_of(experiment))
    series = [Series(arm=arm, values=values) for arm, values in curves.items()]
    note = "What the policy believes of each arm's mean reward."
    return Chart(title="Posterior densities", kind="density", format="number", x=x, series=series, note=note)


_CHARTS: Final[Mapping[str, Callable[[Experiment, Steps, datetime], Chart]]] = {
    "share": _share,
    "rate": _rate,
    "lift": _lift,
    "density": _density,
}
