"""One WSGI application below a path of another."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # these exist for type checkers only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Mounted"]


class Mounted:
    """Hands requests below some paths, each as `/console`, to applications of their own; the others go on."""

    def __init__(self, otherwise: "WSGIApplication", below: Mapping[str, "WSGIApplication"]) -> None:
        self._otherwise = otherwise
        self._below = below

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One request."""
        path = environ["PATH_INFO"]
        prefix = f"/{path[1:].partition('/')[0]}"
        application = self._below.get(prefix)
        if application is None:
            return self._otherwise(environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        environ["PATH_INFO"] = path[len(prefix) :] or "/"
        return application(environ, start_response)
