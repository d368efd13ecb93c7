"""The pages of the console. A new one is a module with a `blueprint`, a template, and a line in `PAGES`."""

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, request

from app.console import alerts, data, evaluate, experiment, hierarchy, overview, preview, quality, service, users

__all__ = ["PAGES", "Page", "navigation"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, or the pages of one kind of thing.

    Attributes:
        blueprint: its views.
        title: in the navigation.
        endpoint: of the view that the navigation leads to; None: it is reached from other pages only.
        keeps: whether it goes on with the experiment that is looked at.
    """

    blueprint: Blueprint
    title: str
    endpoint: str | None
    keeps: bool = False


PAGES: Final = (
    Page(blueprint=overview.blueprint, title="Overview", endpoint="overview.show"),
    Page(blueprint=experiment.blueprint, title="Experiment", endpoint=None),
    Page(blueprint=hierarchy.blueprint, title="Metrics", endpoint=None),
    Page(blueprint=quality.blueprint, title="Quality", endpoint="quality.show", keeps=True),
    Page(blueprint=data.blueprint, title="Data", endpoint="data.show", keeps=True),
    Page(blueprint=users.blueprint, title="Users", endpoint="users.show"),
    Page(blueprint=preview.blueprint, title="Preview", endpoint="preview.show", keeps=True),
    Page(blueprint=evaluate.blueprint, title="Evaluate", endpoint="evaluate.show", keeps=True),
    Page(blueprint=alerts.blueprint, title="Alerts", endpoint="alerts.show"),
    Page(blueprint=service.blueprint, title="Service", endpoint="service.show"),
)


def navigation() -> dict[str, Any]:
    """What the base template shows of the pages."""
    looked_at = (request.view_args or {}).get("key") or request.args.get("experiment") or None
    return {"pages": [page for page in PAGES if page.endpoint], "here": request.blueprint, "looked_at": looked_at}
