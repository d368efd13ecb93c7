"""Cross-origin requests: whose pages may call the API from a browser.

Keys come in a header that pages set themselves, so cookies are of no use here: `Access-Control-Allow-Credentials` is
never said, and with `*` it could not be.
"""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # these exist for type checkers only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Cors"]

_PATHS: Final = ("/v1/", "/ofrep/")
_PREFLIGHT: Final = [
    ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, If-Match, traceparent, tracestate"),
    ("Access-Control-Max-Age", "600"),
]
_EXPOSED: Final = ("Access-Control-Expose-Headers", "ETag, Retry-After")


class Cors:
    """WSGI middleware: answers preflights, and tells browsers which pages may read the answers.

    Args:
        application: what answers.
        origins: as browsers name them; `*` alone: all.
    """

    def __init__(self, application: "WSGIApplication", origins: Collection[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)
        self._every = "*" in self._origins

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One request."""
        if not environ["PATH_INFO"].startswith(_PATHS):
            return self._application(environ, start_response)
        headers = self._headers(environ.get("HTTP_ORIGIN"))
        is_allowed = headers[0][0] != "Vary"
        if is_allowed and environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            start_response("204 No Content", [*headers, *_PREFLIGHT])
            return ()
        if is_allowed:
            headers.append(_EXPOSED)

        def telling(status: str, own: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - WSGI
            return start_response(status, [*own, *headers], *rest)

        return self._application(environ, telling)

    def _headers(self, origin: str | None) -> list[tuple[str, str]]:
        """Whether this origin may, first; and that another one gets another answer, for caches."""
        if self._every:
            return [("Access-Control-Allow-Origin", "*")]
        varies = [("Vary", "Origin")]
        return [("Access-Control-Allow-Origin", origin), *varies] if origin in self._origins and origin else varies
