"""How views read requests and write answers."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from flask import Response, current_app, request

from app.api.codec import decode, encode
from app.auth import Scope, permit
from app.errors import InputTooLarge, InvalidInput, NotFound, NotPermitted
from app.services import Services
from app.store.keys import KeyRecord
from monitoring.requests import ROUTE

__all__ = [
    "Names",
    "actor",
    "authorise",
    "body",
    "caller",
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
_CALLER = "croupier.caller"
# What is below it is about the experiment that its path names.
_OF_ONE = "/v1/experiments/<key>"


class Names(Enum):
    """How a view whose path is not below an experiment's knows which experiment a request is about.

    A key that is for some experiments only may not use a view that does not know.
    """

    NOWHERE = "nowhere"
    IN_QUERY = "the query parameter `experiment`"
    ITSELF = "the view looks, and calls `permit`"


def services() -> Services:
    """The parts of this web worker."""
    found: Services = current_app.extensions[_EXTENSION]
    return found


def requires(scope: Scope, names: Names = Names.NOWHERE) -> Callable[[View], View]:
    """Marks a view as one for keys with this scope; `names`: how it knows which experiment it is about."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        view.names = names  # type: ignore[attr-defined]
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
    key = services().keys.authorise(key_of(request.environ), scope)
    if key.experiments is not None:
        _permit(key, getattr(view, "names", Names.NOWHERE))
    request.environ[_CALLER] = key


def refuse_null_characters() -> None:
    """Runs before each view: PostgreSQL stores no U+0000 in a text, so nothing has such a name."""
    if "\0" in request.path:
        raise NotFound("Nothing has a name with the character U+0000")
    for name, value in request.args.items(multi=True):
        if "\0" in name + value:
            raise InvalidInput.at("#", f"query parameter {name!r} holds the character U+0000")


def caller() -> KeyRecord:
    """The key of this request."""
    key: KeyRecord = request.environ[_CALLER]
    return key


def actor() -> str:
    """Who makes this request, for the audit log."""
    return caller().prefix


def read(type_: type[T]) -> T:
    """The request's body as a value of `type_`.

    Raises:
        MalformedInput: it is not JSON.
        InvalidInput: it has another shape, or holds what cannot be stored.
        InputTooLarge: it is over the limit.
    """
    return decode(body(), type_)


def body() -> bytes:
    """The request's body.

    Raises:
        InputTooLarge: it is over the limit.
    """
    data = request.get_data(cache=False)
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


def _permit(key: KeyRecord, names: Names) -> None:
    """Refuses what is not about an experiment of the key's; closed by default, as the scopes are."""
    if request.url_rule is not None and (request.url_rule.rule + "/").startswith(_OF_ONE + "/"):
        permit(key, (request.view_args or {})["key"])
    elif names is not Names.ITSELF:
        permit(key, request.args.get("experiment") if names is Names.IN_QUERY else None)
