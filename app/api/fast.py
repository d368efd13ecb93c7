"""The routes that carry the traffic, answered without Flask's machinery.

Flask's routing, contexts, hooks and response objects cost about as much as a whole decision does (docs/adr/0005).
What is in any way unusual about a request, Flask answers: its views call the same functions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from app.api import problems
from app.api.codec import encode
from app.api.http import key_of
from app.auth import Scope
from app.services import Services
from app.specification import KEY_PATTERN
from app.store.keys import KeyRecord
from monitoring.requests import ROUTE

if TYPE_CHECKING:  # these exist for type checkers only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["FastKeyRoute", "FastRoute", "FastRoutes"]


class FastRoute(NamedTuple):
    """A POST route: who may use it, and the function from key and body to answer; it sees to the key's experiments."""

    scope: Scope
    handle: Callable[[Services, KeyRecord, bytes], Any]


class FastKeyRoute(NamedTuple):
    """The same, for paths that end in an experiment's key."""

    scope: Scope
    handle: Callable[[Services, KeyRecord, str, bytes], Any]
    rule: str  # what all these paths are called in metrics

    def of(self, key: str) -> FastRoute:
        """The route of one key."""
        return FastRoute(self.scope, lambda services, caller, data: self.handle(services, caller, key, data))


class FastRoutes:
    """Answers some routes, and leaves the others to another WSGI application.

    Args:
        services: of this worker.
        routes: by path.
        key_routes: by what stands before the last slash of a path.
        otherwise: answers everything else.
        largest_body: in bytes.
    """

    def __init__(
        self,
        services: Services,
        routes: Mapping[str, FastRoute],
        otherwise: "WSGIApplication",
        *,
        key_routes: Mapping[str, FastKeyRoute],
        largest_body: int,
    ) -> None:
        self._services = services
        self._routes = routes
        self._key_routes = key_routes
        self._otherwise = otherwise
        self._largest_body = largest_body

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One request."""
        route, rule = self._find(environ["PATH_INFO"])
        length = _length_of(environ)
        usual = environ["REQUEST_METHOD"] == "POST" and not environ.get("QUERY_STRING")
        if route is None or not usual or not 0 <= length <= self._largest_body:
            return self._otherwise(environ, start_response)
        environ[ROUTE] = rule
        try:
            key = self._services.keys.authorise(key_of(environ), route.scope)
            content = encode(route.handle(self._services, key, environ["wsgi.input"].read(length)))
            status, headers = 200, [("Content-Type", "application/json")]
        except Exception as error:  # noqa: BLE001 - every error has its answer
            status, headers, content = problems.answer_to(error, environ["PATH_INFO"])
        headers.append(("Content-Length", str(len(content))))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return (content,)

    def _find(self, path: str) -> tuple[FastRoute | None, str]:
        """The route of a path, and what it is called in metrics."""
        route = self._routes.get(path)
        if route is None:
            before, _, key = path.rpartition("/")
            key_route = self._key_routes.get(before)
            if key_route is not None and re.match(KEY_PATTERN, key):
                return key_route.of(key), key_route.rule
        return route, path


def _length_of(environ: "WSGIEnvironment") -> int:
    """The body's length in bytes; -1 when it is not said, or not said properly."""
    text = environ.get("CONTENT_LENGTH") or ""
    return int(text) if text.isdecimal() and len(text) < 10 else -1
