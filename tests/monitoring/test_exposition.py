"""`/metrics` adds up the files of several processes, and forgets neither counts nor who has died."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.exposition import MetricFiles, alive, render
from monitoring.instruments import ACTIVE_REQUESTS, ALLOCATION_AGE, ARM_PROPENSITY, DECISIONS, LEARNER_PASS
from monitoring.meter import Meter

LABELS = ("home", "a", "policy")


class Process:
    """One slot with its meter, as a process has them."""

    def __init__(self, folder: Path, role: str = "web") -> None:
        self.files = MetricFiles(folder, role)
        self.alive = True
        self.meter = Meter()

    def write(self) -> None:
        """Brings the files up to date."""
        self.meter.read(lambda every: self.files.write(every, time.time()))

    def die(self) -> None:
        """Leaves everything behind, as a killed process does."""
        if self.alive:
            for file in self.files._files.values():
                file.close()
            os.close(self.files._lock)
        self.alive = False


def scraped(folder: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples by name and labels."""
    families = text_string_to_metric_families(render(folder).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def sample(folder: Path, name: str, **labels: str) -> float | None:
    """The value of one sample, if it is there."""
    return scraped(folder).get((name, frozenset(labels.items())))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts processes that share a folder."""
    started: list[Process] = []

    def start(role: str) -> Process:
        started.append(Process(tmp_path, role))
        return started[-1]

    yield start
    for process in started:
        process.die()


@pytest.fixture
def pair(start: Callable[[str], Process]) -> tuple[Process, Process]:
    """Two web workers."""
    return start("web"), start("web")


def decisions(folder: Path) -> float | None:
    """The decisions counted."""
    return sample(folder, "croupier_decision_total", experiment="home", arm="a", reason="policy")


def test_counts_of_all_processes_add_up(pair: tuple[Process, Process], tmp_path: Path) -> None:
    """Counters and buckets are sums; writing again adds nothing."""
    for number, process in enumerate(pair):
        process.meter.add(DECISIONS, LABELS, 3.0 + number)
        process.meter.add(LEARNER_PASS, (), 0.2)
        process.write()
        process.write()
    assert decisions(tmp_path) == 7.0
    name = "croupier_learner_pass_duration_seconds"
    assert sample(tmp_path, name + "_count") == 2.0
    assert sample(tmp_path, name + "_sum") == pytest.approx(0.4)
    assert sample(tmp_path, name + "_bucket", le="0.1") == 0.0
    assert sample(tmp_path, name + "_bucket", le="0.25") == 2.0
    assert sample(tmp_path, name + "_bucket", le="+Inf") == 2.0


def test_gauges_are_merged_as_their_instrument_says(pair: tuple[Process, Process], tmp_path: Path) -> None:
    """Of ages the largest, of requests in progress the sum, of what one learner says the newest."""
    for number, process in enumerate(pair):
        process.meter.add(ALLOCATION_AGE, (), 5.0 - number)
        process.meter.add(ACTIVE_REQUESTS, (), 2.0)
        process.meter.add(ARM_PROPENSITY, ("home", "a"), 0.9 - number / 10)
        process.write()
        time.sleep(0.01)
    assert sample(tmp_path, "croupier_allocation_age_seconds") == 5.0
    assert sample(tmp_path, "http_server_active_requests") == 4.0
    assert sample(tmp_path, "croupier_arm_propensity_ratio", experiment="home", arm="a") == 0.8


def test_a_successor_goes_on_counting(
    pair: tuple[Process, Process], start: Callable[[str], Process], tmp_path: Path
) -> None:
    """Totals never fall when a worker is replaced, and a hundred replacements leave no more files than one."""
    first = pair[0]
    first.meter.add(DECISIONS, LABELS, 5.0)
    first.write()
    files = sorted(path.name for path in tmp_path.iterdir())
    dying = first
    for _ in range(100):
        dying.die()
        dying = start("web")
        assert dying.files.slot == first.files.slot
        dying.meter.add(DECISIONS, LABELS)
        dying.write()
    assert decisions(tmp_path) == 105.0
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_gauges_of_the_dead_are_left_out(pair: tuple[Process, Process], tmp_path: Path) -> None:
    """A killed worker has no age any more; what it counted stays."""
    killed, alive = pair
    for process, age in ((killed, 90.0), (alive, 1.0)):
        process.meter.add(ALLOCATION_AGE, (), age)
        process.meter.add(DECISIONS, LABELS)
        process.write()
    killed.die()
    assert sample(tmp_path, "croupier_allocation_age_seconds") == 1.0
    assert decisions(tmp_path) == 2.0


def test_roles_have_slots_of_their_own(pair: tuple[Process, Process], start: Callable[[str], Process]) -> None:
    """Slots are named for their role and are never shared by the living."""
    assert [process.files.slot for process in pair] == ["web-0", "web-1"]
    assert start("learner").files.slot == "learner-0"


def test_where_nobody_is_alive_counting_starts_afresh(
    pair: tuple[Process, Process], start: Callable[[str], Process], tmp_path: Path
) -> None:
    """What was counted before the whole service stopped, perhaps of experiments long gone, does not pile up."""
    for process in pair:
        process.meter.add(DECISIONS, LABELS)
        process.write()
        process.die()
    start("monitor")
    assert scraped(tmp_path) == {}


def test_who_runs_is_known(pair: tuple[Process, Process], start: Callable[[str], Process], tmp_path: Path) -> None:
    """Role and number of each process that is alive; one that was killed is not."""
    start("learner")
    pair[0].die()
    assert alive(tmp_path) == ["learner-0", "web-1"]
