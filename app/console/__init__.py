"""The console: what operators look at, and act with. A second Flask app beside the serving one.

A page is a module of its own: a blueprint whose views gather a view model from functions of the application and render
a template. `pages.py` lists them; the rest of this package is what pages share.
"""

from flask import Flask
from jinja2 import StrictUndefined

from app.console import assets, formats, log_in, pages, problems, security
from app.console.hierarchy import Reports
from app.console.vitals import Vitals
from app.reports.overview import Leaders
from app.services import Services

__all__ = ["create_console"]

_LARGEST_FORM = 64 * 1024


def create_console(services: Services) -> Flask:
    """The console's app, to be mounted at `/console`."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_FORM
    app.extensions.update(croupier=services, vitals=Vitals(services), leaders=Leaders(), hierarchies=Reports())
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.undefined = StrictUndefined  # a typing error in a template must not look like an empty figure
    for part in (security, problems, formats, assets):
        part.install(app)
    for blueprint in (log_in.blueprint, *(page.blueprint for page in pages.PAGES)):
        app.register_blueprint(blueprint)
    app.context_processor(pages.navigation)
    return app
