"""Every error of every route as one JSON shape: `application/problem+json` (RFC 9457). Made here and nowhere else."""

import logging
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.api.codec import encode
from app.errors import (
    CroupierError,
    InputTooLarge,
    InvalidInput,
    MalformedInput,
    TargetingKeyMissing,
    TooManyRequests,
    Unavailable,
)

__all__ = ["Answer", "Problem", "answer_to", "install", "problem_of"]

log = logging.getLogger(__name__)

# OpenFeature's remote evaluation protocol, and its words for what is wrong with a request.
_FLAGS = "/ofrep/v1/evaluate/flags"
_FLAG_STATUSES = {400, 404, 422, 500}  # of which clients read the body
_FLAG_ERRORS: dict[type[Exception], str] = {
    MalformedInput: "PARSE_ERROR",
    TargetingKeyMissing: "TARGETING_KEY_MISSING",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of RFC 9457, and `errors` for bad input."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] | None = None


class FlagProblem(Problem, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The same with the members that OpenFeature's clients read."""

    key: str | None = None
    error_code: str
    error_details: str


class Answer(NamedTuple):
    """A problem as it goes over HTTP."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def install(app: Flask) -> None:
    """Makes an app answer every error with a problem."""
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, lambda error: _response(answer_to(error, request.path)))


def answer_to(error: Exception, path: str) -> Answer:
    """The answer to a request that failed; an error that is not ours is a bug, and goes to the log."""
    headers = [("Content-Type", "application/problem+json")]
    if not isinstance(error, CroupierError):
        log.error("unexpected error", exc_info=error)
        error = CroupierError("Something went wrong here, not at your side. The log of the service says what.")
    if isinstance(error, Unavailable | TooManyRequests):
        headers.append(("Retry-After", str(error.retry_after_s)))
    if error.status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    # `instance` is a URI reference.
    return _answer(problem_of(error, quote(path)), headers, error, path)


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


def _answer_http_exception(error: HTTPException) -> Response:
    """Errors that Flask found itself: unknown paths, wrong methods, bodies over the limit."""
    if isinstance(error, RequestEntityTooLarge):
        return _response(answer_to(InputTooLarge("The body is larger than 1 MiB; send it in parts"), request.path))
    status = error.code or 500
    problem = Problem(
        type=f"urn:croupier:problem:{error.name.lower().replace(' ', '-')}",
        title=error.name,
        status=status,
        detail=error.description or error.name,
        instance=quote(request.path),
    )
    headers = [("Content-Type", "application/problem+json")]
    if status == 405:
        headers.append(("Allow", ", ".join(sorted(getattr(error, "valid_methods", None) or ()))))
    return _response(_answer(problem, headers, error, request.path))


def _answer(problem: Problem, headers: list[tuple[str, str]], error: Exception, path: str) -> Answer:
    if path.startswith(_FLAGS) and problem.status in _FLAG_STATUSES:
        problem = _flag_problem(problem, error, path)
    return Answer(problem.status, headers, encode(problem))


def _flag_problem(problem: Problem, error: Exception, path: str) -> FlagProblem:
    """A problem of one of OFREP's calls, which know no status 422."""
    members = msgspec.structs.asdict(problem)
    if problem.status == 422:
        members["status"] = 400
    code = "FLAG_NOT_FOUND" if problem.status == 404 else "GENERAL"
    if isinstance(error, InvalidInput):
        code = _FLAG_ERRORS.get(type(error), "INVALID_CONTEXT")
    key = path.removeprefix(_FLAGS).strip("/") or None
    return FlagProblem(**members, key=key, error_code=code, error_details=problem.detail)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)
