"""Alerts: what fires, what did, who takes care of it, which rules there are, and who is told nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from app import alerts
from app.api.query import LARGEST_ID, whole
from app.console.asking import Field, Question, ask
from app.console.pictures import Span, lanes
from app.console.rendering import rendered
from app.console.security import operator, operators_only, services, viewers
from app.errors import InvalidInput
from app.store import experiments
from app.wording import seconds
from monitoring.alert_messages import is_silenced

__all__ = ["blueprint"]

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

_PAGE: Final = 50
_FLIPS: Final = 500
_SHOWN_FLIPS: Final = 100
_LANES: Final = 24
_MOST_KEYS: Final = 1000
_RANGES: Final = {"24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
_STATES: Final = {
    "now": ("firing", "pending"),
    "firing": ("firing",),
    "pending": ("pending",),
    "resolved": ("resolved",),
}
_HOURS: Final = {"1": "1 hour", "4": "4 hours", "24": "1 day", "72": "3 days", "168": "a week"}
_ACKNOWLEDGE: Final = "It says that you take care of it, until it begins anew. It goes on firing."
_SILENCE: Final = "Nobody is told of alerts with the same labels for so long. They fire all the same, and stand here."
_SILENCE_FIELDS: Final = (
    Field(name="hours", label="For", value="4", choices=tuple(_HOURS.items())),
    Field(name="comment", label="Why"),
)
_DONE: Final = {
    "acknowledge": "You take care of it.",
    "silence": "It is silenced.",
    "end": "The silence has ended.",
}


@blueprint.get("")
@viewers
def show() -> str:
    """The page."""
    database, now = services().database, datetime.now(UTC)
    experiment, range_ = request.args.get("experiment") or None, request.args.get("range", "")
    range_ = range_ if range_ in _RANGES else "7d"
    state = request.args.get("state", "now")
    before = whole("before", 0, low=0, high=2**53) or None
    states = _STATES.get(state, _STATES["now"])
    rows = alerts.listed(database, experiment=experiment, states=states, before=before, limit=_PAGE)
    since = now - _RANGES[range_]
    flips = alerts.history(database, experiment=experiment, since=since, before=None, limit=_FLIPS)
    with database.transaction() as connection:
        keys = experiments.keys(connection, limit=_MOST_KEYS)
    return rendered(
        "alerts.html",
        alerts=sorted(rows, key=_urgency),
        silenced=_silenced(rows, now),
        next_before=rows[-1]["id"] if len(rows) == _PAGE else None,
        before=before,
        experiment=experiment,
        keys=keys,
        state=state if state in _STATES else "now",
        states=list(_STATES),
        range=range_,
        ranges=list(_RANGES),
        flips=flips[:_SHOWN_FLIPS],
        picture=_picture(flips, since, now),
        since=since,
        silences=alerts.silences(database, before=None, limit=_PAGE),
        now=now,
        done=_DONE.get(request.args.get("done", "")),
    )


@blueprint.get("/<int:alert_id>")
@viewers
def one(alert_id: int) -> str:
    """One alert with its last flips, and the rule that it is of."""
    database, now = services().database, datetime.now(UTC)
    alert = alerts.get(database, min(alert_id, LARGEST_ID))
    rule = alerts.rules(database, alert["experiment"]).get(alert["rule"])
    return rendered(
        "alert.html",
        alert=alert,
        is_silenced=alert["id"] in _silenced([alert], now),
        rule={} if rule is None or isinstance(rule, str) else _words(msgspec.to_builtins(rule)),
        fault=rule if isinstance(rule, str) else None,
        done=_DONE.get(request.args.get("done", "")),
    )


@blueprint.get("/rules")
@viewers
def rules() -> str:
    """The rules in force, of one experiment or of every one."""
    database, experiment = services().database, request.args.get("experiment", "")
    found = alerts.rules(database, experiment)
    with database.transaction() as connection:
        keys = experiments.keys(connection, limit=_MOST_KEYS)
    return rendered(
        "rules.html",
        rules={key: rule if isinstance(rule, str) else _told(msgspec.to_builtins(rule)) for key, rule in found.items()},
        experiment=experiment,
        keys=keys,
    )


@blueprint.get("/<int:alert_id>/<any(acknowledge, silence):action>")
@operators_only
def confirm(alert_id: int, action: str) -> str:
    """Asks before something is done about an alert."""
    alert = alerts.get(services().database, min(alert_id, LARGEST_ID))
    is_silence = action == "silence"
    labels = [f"{name}: {value}" for name, value in alert["labels"].items()] if is_silence else []
    return ask(
        Question(
            title="Silence" if is_silence else "Acknowledge",
            consequence=_SILENCE if is_silence else _ACKNOWLEDGE,
            about=[f"{alert['rule']} of {alert['experiment']}", alert["summary"], *labels],
            fields=_SILENCE_FIELDS if is_silence else (),
            to=url_for("alerts.act", alert_id=alert_id, action=action),
            back=url_for("alerts.one", alert_id=alert_id),
        )
    )


@blueprint.post("/<int:alert_id>/<any(acknowledge, silence):action>")
@operators_only
def act(alert_id: int, action: str) -> Response:
    """Acknowledges an alert, or silences it."""
    database, now = services().database, datetime.now(UTC)
    if action == "acknowledge":
        alerts.acknowledge(database, min(alert_id, LARGEST_ID), now, actor=operator().name)
    else:
        hours = request.form.get("hours", "")
        if hours not in _HOURS:
            raise InvalidInput.at("#/hours", f"choose one of {', '.join(_HOURS.values())}")
        labels = dict(alerts.get(database, min(alert_id, LARGEST_ID))["labels"])
        comment, period = request.form.get("comment", "")[:1000], (now, now + timedelta(hours=int(hours)))
        alerts.silence(database, labels, period=period, comment=comment, actor=operator().name)
    return redirect(url_for("alerts.one", alert_id=alert_id, done=action), 303)


@blueprint.get("/silences/<int:silence_id>/end")
@operators_only
def confirm_end(silence_id: int) -> str:
    """Asks before a silence ends."""
    words = "From now on everybody hears again of alerts with its labels."
    to, back = url_for("alerts.end", silence_id=silence_id), url_for("alerts.show")
    return ask(Question(title="End the silence", consequence=words, to=to, back=back, about=[f"Silence {silence_id}"]))


@blueprint.post("/silences/<int:silence_id>/end")
@operators_only
def end(silence_id: int) -> Response:
    """Ends a silence."""
    alerts.end_silence(services().database, min(silence_id, LARGEST_ID), datetime.now(UTC), actor=operator().name)
    return redirect(url_for("alerts.show", done="end"), 303)


def _urgency(alert: Mapping[str, Any]) -> tuple[bool, int, float]:
    """Firing before pending, pages before tickets, the newest first."""
    severity = ("page", "ticket", "info").index(alert["severity"])
    return alert["state"] != "firing", severity, -alert["since"].timestamp()


def _silenced(rows: Sequence[Mapping[str, Any]], now: datetime) -> set[int]:
    """Ids of those that nobody is told of now."""
    silences = alerts.labels_silenced(services().database, now)
    return {row["id"] for row in rows if is_silenced(row["labels"], silences)}


def _told(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as a table shows it: what every kind has apart, and the rest in words."""
    usual = ("kind", "severity", "for_s", "keep_firing_for_s", "min_sample", "enabled", "summary")
    words = _words({name: value for name, value in rule.items() if name not in usual})
    rest = ", ".join(f"{name} {value}" for name, value in words.items())
    return {**{name: rule.get(name) for name in usual}, "rest": rest}


def _words(rule: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a rule that say something, in words."""
    fields = {name: value for name, value in rule.items() if name != "summary" and value not in (0, None, "")}
    return {name.removesuffix("_s").replace("_", " "): _word(name, value) for name, value in fields.items()}


def _word(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return seconds(value) if name.endswith("_s") else f"{value:g}"
    return str(value).replace("_", " ")


def _picture(flips: Sequence[Mapping[str, Any]], since: datetime, now: datetime) -> Any:  # noqa: ANN401 - markup
    """When each alert fired, a lane each."""
    spans: dict[str, list[Span]] = {}
    ends: dict[int, datetime] = {}
    for flip in flips:  # the newest first
        name = flip["experiment"] + " · " + flip["rule"]
        if flip["before"] == "firing":
            ends[flip["alert"]] = flip["at"]
        if flip["after"] == "firing":
            spans.setdefault(name, []).append(Span(flip["at"], ends.pop(flip["alert"], now), flip["severity"]))
    for flip in reversed(flips):  # those that fired before the time began
        if flip["alert"] in ends:
            name = flip["experiment"] + " · " + flip["rule"]
            spans.setdefault(name, []).append(Span(since, ends.pop(flip["alert"]), flip["severity"]))
    return lanes(dict(list(spans.items())[:_LANES]), since, now) if spans else None
