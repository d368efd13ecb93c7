"""The HTTP interface: one file per resource."""

from flask import Flask

from app.api import (
    alert_channels,
    alert_rules,
    alerts,
    arms,
    decisions,
    evaluations,
    experiments,
    exposures,
    feedback,
    health,
    items,
    keys,
    metrics,
    overrides,
    problems,
    quality,
    quarantine,
    recommendations,
    shadow,
    silences,
    units,
)
from app.api.cors import Cors
from app.api.fast import FastRoute, FastRoutes
from app.api.http import authorise, refuse_null_characters
from app.auth import Scope
from app.services import Services

__all__ = ["FAST", "install"]

_RESOURCES = (
    recommendations,
    feedback,
    exposures,
    quarantine,
    experiments,
    evaluations,
    arms,
    overrides,
    shadow,
    quality,
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
    fast = FastRoutes(services, FAST, app.wsgi_app, largest_body=_LARGEST_BODY)
    origins = services.settings.cors
    app.wsgi_app = services.telemetry.watch(Cors(fast, origins) if origins else fast)  # type: ignore[assignment, method-assign]
