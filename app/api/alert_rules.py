"""`/v1/alert-rules`: the rules of alerts, for one experiment or for all."""

from flask import Blueprint, Response, request

from app import alerts
from app.api.codec import decode
from app.api.http import Names, actor, body, reply, requires, services
from app.api.query import checked_key
from app.api.yaml import json_of_yaml
from app.auth import Scope
from app.errors import NotFound
from monitoring.alert_rules import AnyRule

__all__ = ["blueprint"]

blueprint = Blueprint("alert_rules", __name__, url_prefix="/v1/alert-rules")


@blueprint.get("")
@requires(Scope.READ, Names.IN_QUERY)
def list_rules() -> Response:
    """The rules in force by key."""
    return reply({"rules": alerts.rules(services().database, _experiment())})


@blueprint.get("/<key>")
@requires(Scope.READ, Names.IN_QUERY)
def get_rule(key: str) -> Response:
    """One rule in force."""
    found = alerts.rules(services().database, _experiment()).get(key)
    if found is None:
        raise NotFound(f"There is no rule {key!r}")
    return reply(found)


@blueprint.put("/<key>")
@requires(Scope.ADMIN, Names.IN_QUERY)
def put_rule(key: str) -> Response:
    """Stores a rule, from JSON or YAML."""
    checked_key(key)
    sent = json_of_yaml(body()) if "yaml" in request.mimetype else body()
    rule: AnyRule = decode(sent, AnyRule)  # type: ignore[arg-type]  # a union is a type, too
    alerts.put_rule(services().database, _experiment(), key, rule, actor=actor())
    return reply(rule)


@blueprint.delete("/<key>")
@requires(Scope.ADMIN, Names.IN_QUERY)
def delete_rule(key: str) -> Response:
    """Deletes a stored rule."""
    alerts.remove_rule(services().database, _experiment(), key, actor=actor())
    return Response(status=204)


def _experiment() -> str:
    """Whose rules are meant; '': those of every experiment."""
    return request.args.get("experiment", "")
