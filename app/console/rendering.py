"""Templates rendered aside, so that a large page holds up no decision of the same worker."""

from flask import copy_current_request_context, render_template

from app.console.security import services

__all__ = ["rendered"]


def rendered(template: str, **view: object) -> str:
    """A page. Whatever it shows must have been read before."""

    @copy_current_request_context
    def render() -> str:
        return render_template(template, **view)

    return str(services().aside(render))
