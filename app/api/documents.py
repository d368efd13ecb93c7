"""`/openapi.json` and `/docs`: the interface as a document for programs, and as a page for people."""

from typing import NamedTuple

from flask import Blueprint, Flask, Response, current_app

from app.api.codec import encode
from app.api.docs_page import Page, page_of
from app.api.http import open_to_all
from app.api.openapi import document
from app.api.operations import describes

__all__ = ["blueprint", "install"]

blueprint = Blueprint("documents", __name__)

_EXTENSION = "croupier.documents"


class _Documents(NamedTuple):
    openapi: bytes
    page: Page


def install(app: Flask) -> None:
    """Makes the documents of an app that has all its routes; they do not change any more."""
    made = document(app)
    app.extensions[_EXTENSION] = _Documents(encode(made), page_of(made))


@blueprint.get("/openapi.json")
@open_to_all
@describes(dict)
def get_openapi() -> Response:
    """This interface as an OpenAPI 3.1 document."""
    return Response(_documents().openapi, content_type="application/json")


@blueprint.get("/docs")
@open_to_all
@describes(str, answers_text="text/html")
def get_docs() -> Response:
    """This interface as a page, with calls to copy."""
    page = _documents().page
    headers = {"Content-Security-Policy": page.policy, "X-Content-Type-Options": "nosniff"}
    return Response(page.html, headers=headers, content_type="text/html; charset=utf-8")


def _documents() -> _Documents:
    found: _Documents = current_app.extensions[_EXTENSION]
    return found
