"""What pages of one experiment share: which one is looked at, and over which time. Both stand in the URL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final

from flask import request, url_for
from werkzeug.wrappers import Response

from app.console.charts import MOST_LINES
from app.console.rendering import rendered
from app.console.security import services
from app.errors import NotFound
from app.reports import timeline
from app.reports.outlook import propensities
from app.store import experiments
from app.store.experiments import Experiment
from app.store.timeline import Steps

__all__ = ["Scope", "lines_of", "of_experiment", "time_axis_of"]

_MOST_KEYS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is looked at.

    Attributes:
        experiment: the one that the URL names, or the first that runs.
        keys: of those that can be chosen.
        range: name of one of `ranges`.
        ranges: those that make sense on the page.
        now: the present.
    """

    experiment: Experiment
    keys: Sequence[str]
    range: str
    ranges: Sequence[str]
    now: datetime

    @property
    def steps(self) -> Steps:
        """The range as steps."""
        return timeline.steps_of(self.range, self.now)

    def url(self, endpoint: str, **parts: Any) -> str:  # noqa: ANN401 - whatever stands in a URL
        """A page of the same experiment and time."""
        return url_for(endpoint, **({"experiment": self.experiment.key, "range": self.range} | parts))

    def lines(self) -> list[str]:
        """The arms that charts show."""
        return lines_of(self.experiment)

    def time_axis(self) -> dict[str, Any]:
        """What charts over time have in common."""
        return time_axis_of(self.experiment, self.steps)


def lines_of(experiment: Experiment) -> list[str]:
    """The arms that charts show: those with the most traffic, and the control."""
    shares = propensities(services().database, experiment)
    control = experiment.specification.control_arm
    order = sorted(experiment.specification.arm_keys, key=lambda arm: (-shares.get(arm, 0.0), arm))
    shown = order[:MOST_LINES]
    return shown if control in shown else [*shown[:-1], control]


def time_axis_of(experiment: Experiment, steps: Steps) -> dict[str, Any]:
    """What charts over time have in common: the range, and what happened in it."""
    return {
        "events": timeline.events(services().database, experiment.key, steps),
        "range": (steps.since.timestamp(), steps.until.timestamp()),
    }


def of_experiment(*ranges: str, usual: str) -> Callable[[Callable[..., Any]], Callable[..., str | Response]]:
    """Gives a view its scope; where there is no experiment yet, a page says so instead.

    Args:
        ranges: those that the page offers.
        usual: the one that it begins with.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., str | Response]:
        @wraps(view)
        def scoped(**arguments: Any) -> str | Response:  # noqa: ANN401 - parts of the path
            scope = _scope(ranges, usual)
            found: str | Response = rendered("no-experiment.html") if scope is None else view(scope, **arguments)
            return found

        return scoped

    return decorate


def _scope(ranges: Sequence[str], usual: str) -> Scope | None:
    wanted = request.args.get("experiment", "")
    with services().database.transaction() as connection:
        keys = experiments.keys(connection, limit=_MOST_KEYS)
        if not keys and not wanted:
            return None
        experiment = experiments.find(connection, wanted or keys[0])
    if experiment is None:
        raise NotFound(f"There is no experiment {wanted!r}")
    asked = request.args.get("range", "")
    return Scope(
        experiment=experiment,
        keys=keys if experiment.key in keys else [experiment.key, *keys],
        range=asked if asked in ranges else usual,
        ranges=ranges,
        now=datetime.now(UTC),
    )
