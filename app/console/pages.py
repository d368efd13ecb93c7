"""The pages of the console. A new one is a module with a `blueprint`, a template, and a line in `PAGES`."""

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, request

from app.console import experiment, overview

__all__ = ["PAGES", "Page", "navigation"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, or the pages of one kind of thing.

    Attributes:
        blueprint: its views.
        title: in the navigation.
        endpoint: of the view that the navigation leads to; None: it is reached from other pages only.
    """

    blueprint: Blueprint
    title: str
    endpoint: str | None


PAGES: Final = (
    Page(blueprint=overview.blueprint, title="Overview", endpoint="overview.show"),
    Page(blueprint=experiment.blueprint, title="Experiment", endpoint=None),
)


def navigation() -> dict[str, Any]:
    """What the base template shows of the pages."""
    return {"pages": [page for page in PAGES if page.endpoint], "here": request.blueprint}
