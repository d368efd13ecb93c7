"""What is wrong with a request before it reaches the application, as problems."""

from http import HTTPStatus
from typing import Final

from gunicorn.http.errors import (  # type: ignore[import-untyped]
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from app.api.codec import encode
from app.api.problems import Answer, Problem, answer_to

__all__ = ["as_http", "refusal_of"]

_STATUSES: Final = (
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
    (ParseException, HTTPStatus.BAD_REQUEST),
)
# The target of a request that cannot be read is not known.
_NOWHERE: Final = "/"


def refusal_of(error: Exception) -> Answer:
    """The answer to a request that gunicorn could not read; any other error goes to the log."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status is None:
        return answer_to(error, _NOWHERE)
    detail = f"This is not HTTP as it is read here: {error}"
    problem = Problem(
        type=f"urn:croupier:problem:{status.phrase.lower().replace(' ', '-')}",
        title=status.phrase,
        status=status,
        detail=detail,
        instance=_NOWHERE,
        errors=[{"pointer": "#", "detail": detail}] if status == HTTPStatus.BAD_REQUEST else None,
    )
    return Answer(status, [("Content-Type", "application/problem+json")], encode(problem))


def as_http(answer: Answer) -> bytes:
    """An answer after which the connection is closed, as bytes."""
    length = ("Content-Length", str(len(answer.body)))
    lines = [f"{name}: {value}\r\n" for name, value in (*answer.headers, length, ("Connection", "close"))]
    head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{''.join(lines)}\r\n"
    return head.encode("latin-1") + answer.body
