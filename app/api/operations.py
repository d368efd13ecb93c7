"""What a view declares of itself beside its path and scope: the document at `/openapi.json` is made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeVar

from flask import Response
from msgspec import Meta

__all__ = [
    "EXPERIMENT",
    "LEVEL",
    "SINCE",
    "UNTIL",
    "MergePatch",
    "Moment",
    "Operation",
    "Query",
    "before",
    "describes",
    "limit",
]

View = TypeVar("View", bound=Callable[..., Response])

Shape = Any  # what msgspec decodes to; unions are no `type`
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
MergePatch = Annotated[dict[str, Any], Meta(description="A JSON merge patch (RFC 7396): null removes")]
_LARGEST_NUMBER = 2**53


class Query(NamedTuple):
    """A query parameter; none is required."""

    name: str
    shape: Shape
    meaning: str
    default: int | float | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One view's contract.

    Args:
        answers: shape of the body by status of success, or shapes of which it has one; None: there is no body.
        takes: shapes of a JSON body, of which a request has one; empty: it has none.
        takes_merge_patch: also under the content type of JSON merge patches.
        takes_text: other content types whose text stands for such a body.
        answers_text: content type of an answer that is no JSON.
        query: its query parameters.
        refusals: statuses of problems beyond those that each view has.
        guarded: `If-Match` guards it.
    """

    answers: Mapping[int, Shape]
    takes: tuple[Shape, ...] = ()
    takes_merge_patch: bool = False
    takes_text: tuple[str, ...] = ()
    answers_text: str | None = None
    query: tuple[Query, ...] = ()
    refusals: frozenset[int] = field(default_factory=frozenset)
    guarded: bool = False


def describes(
    answers: Shape | Mapping[int, Shape],
    *,
    takes: Shape | tuple[Shape, ...] = (),
    query: tuple[Query, ...] = (),
    refusals: tuple[int, ...] = (),
    **more: Any,  # noqa: ANN401 - the other members of an Operation
) -> Callable[[View], View]:
    """Declares a view's contract; `answers` alone are those of status 200."""
    operation = Operation(
        answers=answers if isinstance(answers, Mapping) else {200: answers},
        takes=takes if isinstance(takes, tuple) else (takes,),
        query=query,
        refusals=frozenset(refusals),
        **more,
    )

    def mark(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return mark


def limit(default: int, most: int) -> Query:
    """How long a page is at most."""
    return Query("limit", Annotated[int, Meta(ge=1, le=most)], "How many at most", default)


def before(most: int = _LARGEST_NUMBER) -> Query:
    """Where the next page begins: `next_before` of the last one."""
    return Query("before", Annotated[int, Meta(ge=0, le=most)], "`next_before` of the page before; 0: the first page")


SINCE = Query("since", Moment, "Only from then on, as 2026-11-24T09:00:00Z")
UNTIL = Query("until", Moment, "Only before, as 2026-11-24T09:00:00Z")
LEVEL = Annotated[float, Meta(ge=0.01, le=0.9999)]
EXPERIMENT = Query("experiment", str, "Only of this experiment")
