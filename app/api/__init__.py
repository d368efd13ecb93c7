"""The HTTP interface: one file per resource."""

from flask import Flask

from app.api import decisions, experiments, feedback, health, items, problems, recommendations
from app.api.http import authorise, refuse_null_characters

__all__ = ["install"]

_RESOURCES = (recommendations, feedback, experiments, items, decisions, health)


def install(app: Flask) -> None:
    """Adds all routes to an app."""
    problems.install(app)
    app.url_map.merge_slashes = False  # its redirects would answer in HTML
    app.before_request(authorise)
    app.before_request(refuse_null_characters)
    for resource in _RESOURCES:
        app.register_blueprint(resource.blueprint)
