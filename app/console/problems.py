"""Every error as a page that says what was wrong and what to do; scripts get the sentence alone."""

import logging
from typing import Final

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from app.errors import CroupierError, InvalidInput

__all__ = ["install"]

# The words of the errors speak of API keys.
_TITLES: Final = {401: "Not logged in", 403: "Not permitted"}

log = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Makes an app answer every error with such a page."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _any)


def _http(error: HTTPException) -> Response:
    return _page(error.code or 500, error.name, error.description or error.name)


def _any(error: Exception) -> Response:
    if not isinstance(error, CroupierError):
        log.error("unexpected error", exc_info=error)
        error = CroupierError("Something went wrong here, not at your side. The log of the service says what.")
    faults = [fault.detail for fault in error.faults] if isinstance(error, InvalidInput) else []
    return _page(error.status, _TITLES.get(error.status) or error.title(), "; ".join(faults) or error.detail)


def _page(status: int, title: str, detail: str) -> Response:
    if request.headers.get("X-Requested-With"):
        return Response(detail, status, content_type="text/plain; charset=utf-8")
    return Response(render_template("problem.html", title=title, detail=detail), status)
