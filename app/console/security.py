"""Who is there, and what may be done: sessions, roles, CSRF tokens, cookies, headers. Closed by default.

Each view says whom it is for by a decorator: `viewers`, `operators_only` or `everybody`. A form carries a token that is
made from the session's own, which scripts and other sites cannot read (docs/adr/0011).
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app import operators
from app.errors import InvalidInput, NotFound, NotPermitted
from app.operators import Operator, Role
from app.services import Services
from monitoring.requests import ROUTE

__all__ = [
    "FORM_COOKIE",
    "SESSION_COOKIE",
    "csrf_token",
    "everybody",
    "install",
    "keep",
    "operator",
    "operators_only",
    "services",
    "viewers",
]

SESSION_COOKIE: Final = "croupier_session"
FORM_COOKIE: Final = "croupier_form"  # of those who are not logged in yet: what the log-in form's token is made from

_POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}

View = TypeVar("View", bound=Callable[..., Any])


def everybody(view: View) -> View:
    """Marks a view that needs no session."""
    return _for(view, "everybody")


def viewers(view: View) -> View:
    """Marks a view for all who are logged in."""
    return _for(view, Role.VIEWER)


def operators_only(view: View) -> View:
    """Marks a view that acts: for the role operator."""
    return _for(view, Role.OPERATOR)


def services() -> Services:
    """The parts of this web worker."""
    found: Services = current_app.extensions["croupier"]
    return found


def operator() -> Operator:
    """Who makes this request; their name is the actor of what they do."""
    found: Operator = g.operator
    return found


def csrf_token() -> str:
    """What each form must carry."""
    root = request.cookies.get(SESSION_COOKIE) if g.operator else g.form_root
    return hashlib.sha256(f"csrf:{root}".encode()).hexdigest()


def keep(response: AnyResponse, name: str, value: str, *, max_age: int | None = None) -> None:
    """Sets a cookie that scripts and other sites do not get, and that crosses a network only encrypted.

    On plain HTTP to this very machine, as after `make demo`, it is not marked Secure: not every browser would keep it.
    """
    plain = request.scheme == "http" and urlsplit(f"//{request.host}").hostname in _LOOPBACK
    path = request.script_root or "/"
    response.set_cookie(name, value, max_age=max_age, path=path, secure=not plain, httponly=True, samesite="Lax")


def install(app: Flask) -> None:
    """Guards all views of an app."""
    app.before_request(_authorise)
    app.after_request(_seal)
    app.context_processor(lambda: {"operator": g.get("operator"), "csrf_token": csrf_token})


def _for(view: View, whom: str) -> View:
    view.whom = whom  # type: ignore[attr-defined]
    return view


def _authorise() -> AnyResponse | None:
    """Runs before each view."""
    g.operator, g.form_root = None, request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(16)
    if "\0" in request.full_path:
        raise NotFound("Nothing has a name with the character U+0000")
    if request.url_rule is not None:
        request.environ[ROUTE] = f"{request.script_root}{request.url_rule.rule}"
    if request.endpoint is None or request.endpoint == "static":
        return None
    g.operator = _who()
    whom = getattr(current_app.view_functions[request.endpoint], "whom", "nobody")
    if whom != "everybody" and g.operator is None:
        return _to_log_in()
    if whom not in {"everybody", Role.VIEWER, Role.OPERATOR}:
        raise NotPermitted("This page is closed")
    if whom == Role.OPERATOR and g.operator.role != Role.OPERATOR:
        raise NotPermitted("This needs the role operator; yours is viewer")
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        _refuse_forgery()
    return None


def _who() -> Operator | None:
    token = request.cookies.get(SESSION_COOKIE)
    return operators.operator_of(services().database, token, datetime.now(UTC)) if token else None


def _to_log_in() -> AnyResponse:
    """To the log-in form, and back afterwards; scripts are told by the status."""
    if request.method != "GET" or request.headers.get("X-Requested-With"):
        return Response("Log in", 401, content_type="text/plain")
    return redirect(url_for("log_in.form", after=request.full_path.rstrip("?")))


def _refuse_forgery() -> None:
    """A form of another site lacks the token, and the browser says where it comes from."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise NotPermitted("The form came from another site")
    if not hmac.compare_digest(csrf_token(), request.form.get("csrf", "")):
        raise InvalidInput.at("#/csrf", "The form is too old: go back, load the page again, and send it anew")


def _seal(response: Response) -> Response:
    """Runs after each view."""
    response.headers.extend(_HEADERS)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
