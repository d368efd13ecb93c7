"""Log in and out."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Blueprint, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import operators
from app.console.security import FORM_COOKIE, SESSION_COOKIE, everybody, keep, services, viewers
from app.errors import CroupierError, NotAuthenticated, TooManyRequests
from app.operators import SESSION_LASTS

__all__ = ["blueprint"]

blueprint = Blueprint("log_in", __name__)


@blueprint.get("/log-in")
@everybody
def form() -> Response:
    """The form."""
    return redirect(_after()) if g.operator else _form()


@blueprint.post("/log-in")
@everybody
def log_in() -> Response:
    """Judges name and password."""
    parts = services()
    try:
        token = operators.log_in(
            parts.database,
            request.form.get("name", ""),
            request.form.get("password", ""),
            address=request.remote_addr or "",
            now=datetime.now(UTC),
            aside=parts.aside,
        )
    except (NotAuthenticated, TooManyRequests) as error:
        return _form(error)
    response = redirect(_after(), 303)
    keep(response, SESSION_COOKIE, token, max_age=int(SESSION_LASTS.total_seconds()))
    return response


@blueprint.post("/log-out")
@viewers
def log_out() -> Response:
    """Ends the session."""
    operators.log_out(services().database, request.cookies.get(SESSION_COOKIE, ""))
    response = redirect(url_for("log_in.form"), 303)
    response.delete_cookie(SESSION_COOKIE, path=request.script_root or "/")
    return response


def _form(error: CroupierError | None = None) -> Response:
    after = request.values.get("after", "")
    page = render_template("log-in.html", error=error, name=request.form.get("name", ""), after=after)
    response = make_response(page, error.status if error else 200)
    keep(response, FORM_COOKIE, g.form_root)
    return response


def _after() -> str:
    """Where to go now: a page of the console, never another site."""
    wanted = request.values.get("after", "")
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and wanted.startswith("/") and "\\" not in wanted
    return request.script_root + wanted if is_ours and not wanted.startswith("//") else url_for("overview.show")
