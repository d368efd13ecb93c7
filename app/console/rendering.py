"""Templates rendered aside, so that a large page holds up no decision of the same worker."""

from contextvars import copy_context

from flask import render_template

from app.console.security import services

__all__ = ["rendered"]


def rendered(template: str, **view: object) -> str:
    """A page. Whatever it shows must have been read before: the thread that renders it has no database."""
    here = copy_context()  # of the request: who is logged in, and where
    return str(services().aside(lambda: here.run(render_template, template, **view)))
