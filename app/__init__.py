"""Croupier: a service that deals recommender variants, learns from what comes back, and shows how they do."""

from flask import Flask

from app import api
from app.services import Services

__all__ = ["create_app"]

_LARGEST_BODY = 1024 * 1024


def create_app(services: Services) -> Flask:
    """The serving app, the one place where its parts meet."""
    app = Flask("croupier", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    app.url_map.strict_slashes = False
    app.extensions["croupier"] = services
    api.install(app)
    return app
