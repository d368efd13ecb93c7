"""PostgreSQL stopped, killed and frozen under load: decisions go on being answered, and nothing is lost."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.faults.load import check_promises
from tests.faults.site import LONG, Site, measure, report


@dataclass(frozen=True)
class Absence:
    """A way for the database to be away, and how long it is in the short form and in the long one, seconds."""

    cause: Callable[[Site], AbstractContextManager[None]]
    short: float
    long: float


_ABSENCES = {"stopped": Absence(Site.stopped_postgres, 6, 60), "frozen": Absence(Site.frozen_postgres, 4, 20)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", _ABSENCES)
def test_an_absent_database_is_not_noticed_by_frontends(site: Site, key: str, name: str) -> None:
    """Decisions are answered all the time; once the absence is known, at once and from the spool; all is kept."""
    absence = _ABSENCES[name]
    for number in range(2 if LONG else 1):
        with site.load(f"{key}-{number}") as load:
            start = time.monotonic()
            with absence.cause(site):
                time.sleep(1)  # the first budgets run out
                away = measure(load, absence.long if LONG else absence.short)
            load.wait_for(100)
        whole = load.between(start, time.monotonic())
        report(f"{name}, meanwhile", away)
        report(f"{name}, with the change and the return", whole)
        assert away.asked > 300
        assert away.share >= 0.999
        assert whole.share >= 0.999
        assert away.spooled == away.answered
        assert away.p99 < 0.5
        check_promises(site.service, load)


@pytest.mark.timeout(240)
def test_a_killed_database_comes_back_with_everything(site: Site, key: str) -> None:
    """SIGKILL of the postmaster, and its restart, several times: decisions are answered and kept."""
    start = time.monotonic()
    with site.load(key) as load:
        for _ in range(8 if LONG else 2):
            site.kill_postgres()
            load.wait_for(100)
            site.postgres.start()
            load.wait_for(100)
    whole = load.between(start, time.monotonic())
    report("killed", whole)
    assert whole.share >= 0.999
    assert load.statuses.keys() == {200}
    check_promises(site.service, load)
