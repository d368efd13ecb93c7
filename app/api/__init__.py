"""The HTTP interface: one file per resource."""

from flask import Flask

from app.api import (
    alert_channels,
    alert_rules,
    alerts,
    arms,
    avatars,
    data,
    decisions,
    evaluations,
    experiments,
    exposures,
    feedback,
    health,
    items,
    keys,
    metric_series,
    metrics,
    ofrep,
    overrides,
    previews,
    problems,
    quality,
    quarantine,
    recommendations,
    shadow,
    silences,
    units,
)
from app.api.cors import Cors
from app.api.fast import FastKeyRoute, FastRoute, FastRoutes
from app.api.http import authorise, refuse_null_characters
from app.auth import Scope
from app.services import Services

__all__ = ["FAST", "FAST_BY_KEY", "install"]

_RESOURCES = (
    recommendations,
    feedback,
    exposures,
    ofrep,
    quarantine,
    experiments,
    evaluations,
    previews,
    avatars,
    arms,
    data,
    overrides,
    shadow,
    quality,
    metric_series,
    items,
    decisions,
    units,
    alerts,
    silences,
    alert_rules,
    alert_channels,
    health,
    metrics,
    keys,
)
# Also routes of their blueprints: a test compares the scopes.
FAST = {
    "/v1/recommendations": FastRoute(Scope.DECIDE, recommendations.recommend),
    "/v1/recommendations/batch": FastRoute(Scope.DECIDE, recommendations.recommend_batch),
    "/v1/feedback": FastRoute(Scope.REWARD, feedback.take_feedback),
    "/v1/exposures": FastRoute(Scope.REWARD, exposures.take_exposures),
}
FAST_BY_KEY = {
    "/ofrep/v1/evaluate/flags": FastKeyRoute(Scope.DECIDE, ofrep.evaluate_flag, "/ofrep/v1/evaluate/flags/<key>"),
}
_LARGEST_BODY = 1024 * 1024


def install(app: Flask, services: Services) -> None:
    """Adds all routes to an app."""
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    problems.install(app)
    app.url_map.merge_slashes = False  # its redirects would answer in HTML
    app.before_request(authorise)
    app.before_request(refuse_null_characters)
    for resource in _RESOURCES:
        app.register_blueprint(resource.blueprint)
    fast = FastRoutes(services, FAST, app.wsgi_app, key_routes=FAST_BY_KEY, largest_body=_LARGEST_BODY)
    origins = services.settings.cors
    app.wsgi_app = services.telemetry.watch(Cors(fast, origins) if origins else fast)  # type: ignore[assignment, method-assign]
