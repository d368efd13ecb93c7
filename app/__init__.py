"""Croupier: a service that deals recommender variants, learns from what comes back, and shows how they do."""

from flask import Flask

from app import api
from app.console import create_console
from app.mounting import Mounted
from app.services import Services

__all__ = ["create_app"]


def create_app(services: Services) -> Flask:
    """The serving app, the one place where its parts meet."""
    app = Flask("croupier", static_folder=None)
    app.url_map.strict_slashes = False
    app.extensions["croupier"] = services
    console = create_console(services)
    app.wsgi_app = Mounted(app.wsgi_app, {"/console": console})  # type: ignore[method-assign]
    api.install(app, services)  # its fast routes come first
    return app
