from collections.abc import Iterator

import pytest

from app import errors
from app.errors import (
    ConfigurationError,
    CroupierError,
    Fault,
    InvalidInput,
    MalformedInput,
    Unavailable,
)

TREE = {
    "CroupierError": (500, "croupier-error", "Something went wrong"),
    "InvalidInput": (422, "invalid-input", "The input is not valid"),
    "MalformedInput": (400, "malformed-input", "The input is not JSON"),
    "TargetingKeyMissing": (400, "targeting-key-missing", "The context does not say who is served"),
    "NotAuthenticated": (401, "not-authenticated", "No valid API key was given"),
    "NotPermitted": (403, "not-permitted", "The API key may not do this"),
    "NotFound": (404, "not-found", "There is no such thing"),
    "Conflict": (409, "conflict", "The request contradicts the present state"),
    "PreconditionFailed": (412, "precondition-failed", "The experiment has changed since it was read"),
    "InputTooLarge": (413, "input-too-large", "The input is too large"),
    "RequestTooSlow": (408, "request-too-slow", "The request did not arrive in time"),
    "UnsupportedMedia": (415, "unsupported-media", "The body's content type is not one that is read here"),
    "TooManyRequests": (429, "too-many-requests", "There were too many requests"),
    "Unavailable": (503, "unavailable", "The database did not answer in time"),
    "ConfigurationError": (500, "configuration-error", "Settings or environment do not allow this"),
}


def descendants(of: type[CroupierError]) -> Iterator[type[CroupierError]]:
    """A class and all below it that errors.py defines."""
    yield of
    for child in of.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from descendants(child)


def test_the_tree_is_what_clients_know() -> None:
    """Each error keeps its status, its slug (part of a problem's type) and its title: clients depend on them."""
    tree = {e.__name__: (e.status, e.slug(), e.title()) for e in descendants(CroupierError)}
    assert tree == TREE


def test_every_error_is_public_and_drawn() -> None:
    """What is in the tree is exported, and stands in the drawing at the top of the file."""
    assert set(TREE) <= set(errors.__all__)
    assert all(name in (errors.__doc__ or "") for name in TREE)


def test_the_title_is_the_default_detail() -> None:
    """An error without words of its own says its title."""
    assert (str(Unavailable()), Unavailable().detail) == ("The database did not answer in time",) * 2
    assert ConfigurationError("no port").detail == "no port"


def test_faults_are_told_with_their_places() -> None:
    """The detail of an invalid input names every fault; one fault can be made at its place."""
    faults = (Fault("#/k", "must be 1 or more"), Fault("#/unit", "is missing"))
    assert str(InvalidInput(*faults)) == "#/k: must be 1 or more; #/unit: is missing"
    assert InvalidInput(*faults).faults == faults
    assert InvalidInput.at("#/k", "is 0").faults == (Fault("#/k", "is 0"),)
    assert InvalidInput(faults[0], detail="in other words").detail == "in other words"


def test_malformed_input_is_invalid_input() -> None:
    """Whoever handles invalid input handles what is not even JSON."""
    with pytest.raises(InvalidInput):
        raise MalformedInput


def test_unavailability_says_when_to_come_back() -> None:
    """In whole seconds, a second if nothing else is known."""
    assert Unavailable().retry_after_s == 1
    assert Unavailable("later", retry_after_s=7).retry_after_s == 7
