"""The HTTP interface: one file per resource."""

from flask import Flask

from app.api import decisions, experiments, feedback, health, items, problems, recommendations
from app.api.http import authorise

__all__ = ["install"]

_RESOURCES = (recommendations, feedback, experiments, items, decisions, health)


def install(app: Flask) -> None:
    """Adds all routes to an app."""
    problems.install(app)
    app.before_request(authorise)
    for resource in _RESOURCES:
        app.register_blueprint(resource.blueprint)
