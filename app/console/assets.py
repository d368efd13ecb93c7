"""Style and scripts. The scripts are built (`scripts/set-up`); without them pages work, but stand still."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from flask import Flask, Response, request, url_for

__all__ = ["install"]

_STATIC: Final = Path(__file__).parent / "static"


def install(app: Flask) -> None:
    """Gives templates `asset` and lets browsers keep what it names."""
    app.jinja_env.globals["asset"] = _asset
    app.jinja_env.globals["has_scripts"] = (_STATIC / "build" / "main.js").exists()
    app.after_request(_let_keep)


def _asset(name: str) -> str:
    """The URL of a file: another one when its content is another."""
    return url_for("static", filename=name, v=_digest(name))


@cache
def _digest(name: str) -> str:
    return sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def _let_keep(response: Response) -> Response:
    if request.endpoint == "static" and "v" in request.args:
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
