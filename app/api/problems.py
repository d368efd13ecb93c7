"""Every error of every route as one JSON shape: `application/problem+json` (RFC 9457). Made here and nowhere else."""

import logging
from urllib.parse import quote

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.errors import CroupierError, InputTooLarge, InvalidInput, Unavailable

__all__ = ["install", "problem_of"]

log = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of RFC 9457, and `errors` for bad input."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] | None = None


def install(app: Flask) -> None:
    """Makes an app answer every error with a problem."""
    app.register_error_handler(CroupierError, _answer_croupier_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_bug)


def problem_of(error: CroupierError, instance: str) -> Problem:
    """The problem that an error becomes."""
    faults = error.faults if isinstance(error, InvalidInput) else ()
    return Problem(
        type=f"urn:croupier:problem:{error.slug()}",
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=instance,
        errors=[fault._asdict() for fault in faults] or None,
    )


def _answer_croupier_error(error: CroupierError) -> Response:
    response = _response(problem_of(error, _here()))
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _answer_http_exception(error: HTTPException) -> Response:
    """Errors that Flask found itself: unknown paths, wrong methods, bodies over the limit."""
    if isinstance(error, RequestEntityTooLarge):
        return _answer_croupier_error(InputTooLarge("The body is larger than 1 MiB; send it in parts"))
    status = error.code or 500
    slug = error.name.lower().replace(" ", "-")
    response = _response(
        Problem(
            type=f"urn:croupier:problem:{slug}",
            title=error.name,
            status=status,
            detail=error.description or error.name,
            instance=_here(),
        )
    )
    if status == 405:
        response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return response


def _answer_bug(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    detail = "Something went wrong here, not at your side. The log of the service says what."
    title, kind = "Internal server error", "urn:croupier:problem:internal-server-error"
    return _response(Problem(type=kind, title=title, status=500, detail=detail, instance=_here()))


def _here() -> str:
    """The path of this request, as the URI reference that `instance` must be."""
    return quote(request.path)


def _response(problem: Problem) -> Response:
    body = msgspec.json.encode(problem)
    return Response(body, status=problem.status, content_type="application/problem+json")
