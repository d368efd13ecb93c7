"""The service itself: latency, throughput, batches, spool, processes, database and learner.

Figures of processes are those of the machine that answers, since they have counted; the database's are of all.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, request, url_for

from app import alerts
from app.console.charts import Chart, answer
from app.console.pictures import bars
from app.console.rendering import rendered
from app.console.security import services, viewers
from app.console.vitals import vitals
from app.reports.counted import Distribution, by_label, distribution
from app.reports.timeline import Series, steps_of
from app.store import timeline
from app.store.server import learner_state, server_state
from app.wording import number, seconds
from monitoring.exposition import Totals
from monitoring.instruments import (
    BATCH_PASS,
    BATCH_SIZE,
    COMMIT_DURATION,
    DATABASE_OPERATION,
    LEARNER_PASS,
    MONITOR_PASS,
    RECOMMENDER_DURATION,
    REQUEST_DURATION,
    SPOOL_EVENTS,
)

__all__ = ["blueprint"]

blueprint = Blueprint("service", __name__, url_prefix="/service")

_WATCHED: Final = (
    REQUEST_DURATION,
    RECOMMENDER_DURATION,
    BATCH_SIZE,
    COMMIT_DURATION,
    SPOOL_EVENTS,
    DATABASE_OPERATION,
    LEARNER_PASS,
    MONITOR_PASS,
    BATCH_PASS,
)
_RANGES: Final = ("1h", "24h", "7d", "30d")
_MOST_ROWS: Final = 12
# Rules that tell of the service rather than of an experiment.
_RULES: Final = ("availability", "latency", "no-decisions", "no-feedback", "stale-allocation", "fallbacks")
_MOST_ALERTS: Final = 200
_CONVERTER: Final = re.compile(r"<[^<>]*:")


@blueprint.get("")
@viewers
def show() -> str:
    """The page."""
    parts = services()
    counted = parts.aside(lambda: parts.telemetry.totals(_WATCHED))
    with parts.database.transaction() as connection:
        server, learner = server_state(connection), learner_state(connection)
    firing = alerts.listed(parts.database, experiment=None, states=["firing"], before=None, limit=_MOST_ALERTS)
    return rendered(
        "service.html",
        vitals=vitals().now(),
        firing=[alert for alert in firing if alert["rule"].startswith(_RULES)],
        processes=Counter(name.rpartition("-")[0] for name in parts.telemetry.processes() or ()),
        server=server,
        learner=learner,
        spool_limit=parts.settings.spool_limit_mb * 1_000_000,
        range=_range(),
        ranges=_RANGES,
        counted=None if counted is None else _tables(counted),
    )


@blueprint.get("/charts/throughput")
@blueprint.get("/charts/throughput.<any(json):form>")
@viewers
def chart(form: str = "html") -> Response:
    """Decisions a second of all experiments together, as JSON or as a table."""
    steps = steps_of(_range(), datetime.now(UTC))
    with services().database.transaction() as connection:
        found = timeline.everything(connection, steps)
    made = {step: (decisions, fallbacks) for step, decisions, fallbacks in found}
    present = sorted(made)[:-1]  # the last step has only begun
    series = [
        Series(arm=name, values=[made[step][at] / steps.width_s for step in present])
        for at, name in enumerate(("decisions", "fallbacks"))
    ]
    throughput = Chart(
        title="Throughput",
        kind="line",
        format="number",
        x=[steps.since.timestamp() + step * steps.width_s for step in present],
        series=series,
        range=(steps.since.timestamp(), steps.until.timestamp()),
        note="Decisions a second of all experiments and machines; steps older than two days are days.",
    )
    return answer(throughput, form, back=("Service", url_for("service.show", range=_range())))


def _range() -> str:
    wanted = request.args.get("range", "")
    return wanted if wanted in _RANGES else "24h"


def _tables(counted: Mapping[str, Totals]) -> dict[str, Any]:
    """What the processes have counted."""

    def of(instrument: Any, label: Any) -> list[tuple[str, Distribution]]:  # noqa: ANN401 - local
        return by_label(instrument, counted[instrument.name], label, most=_MOST_ROWS)

    requests = counted[REQUEST_DURATION.name]
    latency = distribution(REQUEST_DURATION, requests, lambda key: key[1].startswith("/v1/recommendations"))
    sizes = distribution(BATCH_SIZE, counted[BATCH_SIZE.name])
    return {
        "latency": latency,
        "latency_picture": bars(
            latency.counts, _marks(latency, seconds), "Latency of recommendations; the table has the figures"
        ),
        "sizes": sizes,
        "sizes_picture": bars(sizes.counts, _marks(sizes, number), "Rows in a group commit; the table has the figures"),
        "routes": of(REQUEST_DURATION, lambda key: _route(key) if key[1] else None),
        "failures": _failures(requests),
        "commits": of(COMMIT_DURATION, lambda key: f"{key[0]}, {key[1]}"),
        "batches": dict(of(BATCH_SIZE, lambda key: key[0])),
        "recommenders": of(RECOMMENDER_DURATION, lambda key: f"{key[0]} / {key[1]}"),
        "statements": of(DATABASE_OPERATION, lambda key: " ".join(filter(None, key[1:3])) or None),
        "spool": sorted(counted[SPOOL_EVENTS.name].items()),
        "passes": [
            (name, distribution(instrument, counted[instrument.name]))
            for name, instrument in (("learner", LEARNER_PASS), ("monitor", MONITOR_PASS), ("batch", BATCH_PASS))
        ],
    }


def _marks(found: Distribution, say: Callable[[float], str]) -> list[str]:
    """Under each bar, its upper bound."""
    return [say(bound) for bound in found.bounds[:-1]] + ["more"]


def _route(labels: tuple[str, ...]) -> str:
    """Method and route, without the converters of its parts."""
    return f"{labels[0]} {_CONVERTER.sub('<', labels[1])}"


def _failures(requests: Totals) -> Counter[str]:
    """Answers with status 5xx by method and route."""
    found: Counter[str] = Counter()
    for key, value in requests.items():
        if len(key) > len(REQUEST_DURATION.labels) and key[2].startswith("5"):
            found[_route(key)] += int(value)
    return found


@blueprint.app_template_filter("at_most")
def at_most(bound: float | None) -> str:
    """Upper bound of a bucket, in seconds, as words."""
    if bound is None:
        return "–"
    return "more" if bound == float("inf") else f"≤ {seconds(bound)}"
