"""How views read requests and write answers."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Response, current_app, request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from app.api.codec import decode, encode
from app.auth import Scope
from app.errors import InputTooLarge, InvalidInput, MalformedInput, NotFound, NotPermitted, UnsupportedMedia
from app.services import Services
from monitoring.requests import ROUTE

__all__ = [
    "actor",
    "authorise",
    "body",
    "is_json",
    "json_body",
    "key_of",
    "open_to_all",
    "read",
    "refuse_null_characters",
    "reply",
    "requires",
    "services",
]

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Response])

_EXTENSION = "croupier"
_JSON = {"application/json", "application/x-www-form-urlencoded", ""}


def services() -> Services:
    """The parts of this web worker."""
    found: Services = current_app.extensions[_EXTENSION]
    return found


def requires(scope: Scope) -> Callable[[View], View]:
    """Marks a view as one for keys with this scope."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return mark


def open_to_all(view: View) -> View:
    """Marks a view as one that needs no key."""
    view.scope = None  # type: ignore[attr-defined]
    return view


def authorise() -> None:
    """Runs before each view: closed by default, so a view that was not marked lets nobody in."""
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.rule
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:
        return  # no such path: Flask answers 404
    scope = getattr(view, "scope", "nobody")
    if scope is None:
        return
    if not isinstance(scope, Scope):
        raise NotPermitted("This route is closed")
    request.environ["croupier.actor"] = services().keys.authorise(key_of(request.environ), scope)


def refuse_null_characters() -> None:
    """Runs before each view: PostgreSQL stores no U+0000 in a text, so nothing has such a name."""
    if "\0" in request.path:
        raise NotFound("Nothing has a name with the character U+0000")
    for name, value in request.args.items(multi=True):
        if "\0" in name + value:
            raise InvalidInput.at("#", f"query parameter {name!r} holds the character U+0000")


def actor() -> str:
    """Who makes this request, for the audit log."""
    return str(request.environ["croupier.actor"])


def read(type_: type[T]) -> T:
    """The request's body as a value of `type_`.

    Raises:
        UnsupportedMedia: it says that it is something else.
        MalformedInput: it is not JSON.
        InvalidInput: it has another shape, or holds what cannot be stored.
        InputTooLarge: it is over the limit.
    """
    return decode(json_body(), type_)


def json_body() -> bytes:
    """The request's body, which says of itself that it is JSON, or nothing.

    Raises:
        UnsupportedMedia: it says that it is something else.
        InputTooLarge: it is over the limit.
    """
    content_type = request.headers.get("Content-Type", "")
    if not is_json(content_type):
        raise UnsupportedMedia(f"Content-Type is {content_type!r}; send JSON, with Content-Type: application/json")
    return body()


def is_json(content_type: str) -> bool:
    """Whether a content type is JSON's, or says nothing: `curl -d` calls everything a form unless it is told."""
    media = content_type.partition(";")[0].strip().lower()
    return media in _JSON or (media.startswith("application/") and media.endswith("+json"))


def body() -> bytes:
    """The request's body.

    Raises:
        InputTooLarge: it is over the limit.
    """
    try:
        data = request.get_data(cache=False)
    except ParseException as error:
        raise MalformedInput.at("#", f"The body's chunks cannot be read: {error}") from error
    # Werkzeug refuses a length over the limit, but cuts a body without a length (chunked) there and says nothing.
    if len(data) == request.max_content_length and request.environ["wsgi.input"].read(1):
        raise InputTooLarge("The body is larger than 1 MiB; send it in parts")
    return data


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - JSON
    """An answer with a JSON body."""
    return Response(encode(value), status, headers, content_type="application/json")


def key_of(environ: Mapping[str, Any]) -> str | None:
    """The API key of a request, from its WSGI environment."""
    scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY")
