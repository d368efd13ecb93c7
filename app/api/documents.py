"""`/openapi.json`: the interface as a document that programs read."""

from flask import Blueprint, Flask, Response, current_app

from app.api.codec import encode
from app.api.http import open_to_all
from app.api.openapi import document
from app.api.operations import describes

__all__ = ["blueprint", "install"]

blueprint = Blueprint("documents", __name__)

_EXTENSION = "croupier.openapi"


def install(app: Flask) -> None:
    """Makes the document of an app that has all its routes; it does not change any more."""
    app.extensions[_EXTENSION] = encode(document(app))


@blueprint.get("/openapi.json")
@open_to_all
@describes(dict)
def get_openapi() -> Response:
    """This interface as an OpenAPI 3.1 document."""
    return Response(current_app.extensions[_EXTENSION], content_type="application/json")
