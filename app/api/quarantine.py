"""`/v1/quarantine`: events that could not be used."""

from typing import Literal

from flask import Blueprint, Response, request

from app import quarantine
from app.api.http import Names, actor, read, reply, requires, services
from app.api.query import LARGEST_ID, whole
from app.api.schemas import QuarantineSelection
from app.auth import Scope
from app.errors import InvalidInput
from app.store.quarantine import Filter

__all__ = ["blueprint"]

blueprint = Blueprint("quarantine", __name__, url_prefix="/v1/quarantine")


@blueprint.get("")
@requires(Scope.READ, Names.IN_QUERY)
def list_quarantine() -> Response:
    """Entries, the newest first, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    before = whole("before", 0, low=0, high=2**53) or None
    query = request.args
    wanted = Filter(experiment=query.get("experiment"), reason=query.get("reason"), state=query.get("state"))
    page = quarantine.listed(services().database, wanted, before=before, limit=limit)
    return reply({"entries": page, "next_before": page[-1]["id"] if len(page) == limit else None})


@blueprint.get("/<int:entry_id>")
@requires(Scope.READ)
def get_entry(entry_id: int) -> Response:
    """One entry."""
    return reply(quarantine.get(services().database, min(entry_id, LARGEST_ID)))


@blueprint.post("/<any(replay, discard):action>")
@requires(Scope.ADMIN)
def settle(action: Literal["replay", "discard"]) -> Response:
    """Tries entries again, or marks them as of no use."""
    wanted = _filter(read(QuarantineSelection))
    work = quarantine.replay if action == "replay" else quarantine.discard
    return reply(work(services().database, wanted, actor=actor()))


def _filter(selection: QuarantineSelection) -> Filter:
    """Which entries are meant."""
    by_id, by_word = selection.ids is not None, selection.experiment is not None or selection.reason is not None
    if by_id == by_word:
        raise InvalidInput.at("#", "name either ids, or an experiment or a reason")
    return Filter(ids=selection.ids, experiment=selection.experiment, reason=selection.reason)
