"""The spool on real disks and under real processes: full, torn, left behind by the dead."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.load import Load, check_promises, spool_files, until_recovered
from tests.faults.site import LONG, Site, kill
from tests.running import alive, until


@contextmanager
def small_files(site: Site) -> Iterator[None]:
    """Web workers that may not write files of more than 30 kB."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits another process's files (prlimit)")
    workers = site.workers()
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (30_000, hard))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def small_disk(site: Site) -> Iterator[None]:
    """A spool folder on a disk of 64 kB, for as long as anything is in it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    site.spool.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(site.spool)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this root may not mount: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        site.mend()
        subprocess.run(["umount", "-l", str(site.spool)], check=True)


@pytest.mark.parametrize("full", [small_files, small_disk])
def test_a_full_spool_refuses_and_recovers(
    site: Site, key: str, full: Callable[[Site], AbstractContextManager[None]]
) -> None:
    """No database and no room: 503 with whole seconds to wait; what was acknowledged is kept, and all goes on."""
    with site.load(key) as load, full(site):
        for _ in range(6 if LONG else 2):
            refused = len(load.waits)
            with site.stopped_postgres():
                until(lambda n=refused: len(load.waits) > n + 50, "the spool to be full", 20)  # type: ignore[misc]
            load.wait_for(100)
            until_recovered(site.service)
        load.over.set()
        time.sleep(0.2)
    assert load.statuses.keys() == {200, 503}
    assert all(int(text) >= 1 for text in load.waits)
    check_promises(site.service, load)


def fill_spool(site: Site, load: Load) -> None:
    """Decisions and feedback that only the spool has."""
    before = sum(path.stat().st_size for path in spool_files(site.service))
    load.wait_for(200)
    assert sum(path.stat().st_size for path in spool_files(site.service)) > before


def test_the_spool_of_a_dead_worker_is_replayed_by_another(site: Site, key: str) -> None:
    """While the database is away both workers are killed, one after the other; their successors replay all."""
    with site.load(key) as load, site.stopped_postgres():
        for victim in site.workers():
            fill_spool(site, load)
            kill(victim)
            until(lambda gone=victim: not alive(gone), "the worker to be gone")  # type: ignore[misc]
            until(lambda: len(site.workers()) == 2, "another worker")
        load.over.set()
    check_promises(site.service, load)


def test_the_spool_of_a_killed_service_is_replayed_up_to_its_torn_tail(site: Site, key: str) -> None:
    """The web server dies while the database is away, in the middle of a record: the next start has all the rest."""
    with site.load(key) as load, site.stopped_postgres():
        fill_spool(site, load)
        site.kill_web()
        load.over.set()
        for path, tail in zip(
            spool_files(site.service), (b"\x40", b"\x40\x00\x00\x00\x01\x02\x03\x04half"), strict=False
        ):
            with path.open("ab") as file:
                file.write(tail)
    assert spool_files(site.service)
    site.service.start("web")
    check_promises(site.service, load)
