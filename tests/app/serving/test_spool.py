"""The spool: what it acknowledges survives, and what it cannot take it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.spool import Spool, SpoolFull, read_records

_LIMIT = 1_000_000
_DIE_WITH_RECORDS = """
import os, sys
from pathlib import Path
from app.serving.spool import Spool
spool = Spool(Path(sys.argv[1]), limit_bytes=1_000_000)
for number in range(3):
    spool.append([b"record %d" % number])
if sys.argv[2] == "die":
    os._exit(9)
print("ready", flush=True)
sys.stdin.read()
"""


def records_in(folder: Path) -> list[bytes]:
    """All records of a folder's files, in order."""
    return [record for path in sorted(folder.glob("*.spool")) for record in read_records(path)]


def only_file(folder: Path) -> Path:
    """The one spool file of a folder."""
    (path,) = folder.glob("*.spool")
    return path


def test_records_are_read_back_in_order(tmp_path: Path) -> None:
    """What was appended, in several calls and of any content, comes back as it was."""
    spool = Spool(tmp_path, limit_bytes=_LIMIT)
    spool.append([b"first", b""])
    spool.append([bytes(range(256)) * 100])
    assert records_in(tmp_path) == [b"first", b"", bytes(range(256)) * 100]
    spool.close()


@given(cut=st.integers(min_value=0, max_value=60))
def test_a_torn_tail_hides_only_what_was_not_acknowledged(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever a crash cut the file, every whole record before the cut is read, and nothing else."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, limit_bytes=_LIMIT)
    payloads = [b"one", b"two two", b"three three three"]
    sizes = []
    for payload in payloads:
        spool.append([payload])
        sizes.append(spool.size_bytes())
    spool.close()
    whole = max(sizes[-1] - cut, 0)
    os.truncate(only_file(folder), whole)
    assert records_in(folder) == [payload for payload, end in zip(payloads, sizes, strict=True) if end <= whole]


@given(place=st.integers(min_value=0, max_value=200), flip=st.integers(min_value=1, max_value=255))
def test_a_damaged_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    """A record whose bytes changed on disk is not taken for a record."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, limit_bytes=_LIMIT)
    payloads = [b"a" * 40, b"b" * 40, b"c" * 40]
    spool.append(payloads)
    spool.close()
    path = only_file(folder)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    found = records_in(folder)
    assert len(found) < 3
    assert found == payloads[: len(found)]


def test_the_limit_counts_all_files_of_the_folder(tmp_path: Path) -> None:
    """Workers share the limit; what does not fit is refused with a hint when to try again."""
    first, second = Spool(tmp_path, limit_bytes=2_000), Spool(tmp_path, limit_bytes=2_000)
    first.append([b"x" * 1_500])
    with pytest.raises(SpoolFull) as refused:
        second.append([b"y" * 600])
    assert refused.value.retry_after_s >= 1
    second.append([b"y" * 300])
    assert len(records_in(tmp_path)) == 2
    first.close()
    second.close()


def test_a_full_disk_is_refused_and_leaves_no_torn_record(tmp_path: Path) -> None:
    """When the disk takes only part of a record, the part is removed, and the spool goes on when there is room."""
    script = """
import resource, sys
from pathlib import Path
from app.serving.spool import Spool, SpoolFull, read_records
folder = Path(sys.argv[1])
spool = Spool(folder, limit_bytes=10_000_000)
spool.append([b"kept"])
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
try:
    spool.append([b"x" * 10_000])
    sys.exit("the disk took it")
except SpoolFull as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append([b"after"])
(path,) = folder.glob("*.spool")
assert list(read_records(path)) == [b"kept", b"after"]
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout


def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    """When not even a file can be begun, the next record begins another, and is read back."""
    script = """
import resource, sys
from pathlib import Path
from app.serving.spool import Spool, SpoolFull, read_records
folder = Path(sys.argv[1])
spool = Spool(folder, limit_bytes=10_000_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (5, resource.RLIM_INFINITY))
try:
    spool.append([b"refused"])
    sys.exit("the disk took it")
except SpoolFull:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append([b"kept"])
(path,) = folder.iterdir()
assert path.suffix == ".spool"
assert list(read_records(path)) == [b"kept"]
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_taken_back_is_left_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a torn record that cannot be removed either, the next one is written, and read back, elsewhere."""
    spool = Spool(tmp_path, limit_bytes=_LIMIT)
    spool.append([b"first"])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _fail)
        broken.setattr(os, "ftruncate", _fail)
        with pytest.raises(SpoolFull):
            spool.append([b"refused"])
    spool.append([b"second"])
    spool.close()
    kept = [list(read_records(path)) for path in sorted(tmp_path.glob("*.spool"))]
    assert kept == [[b"first", b"refused"], [b"second"]]


def _fail(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_own_records_can_be_claimed_and_new_ones_go_elsewhere(tmp_path: Path) -> None:
    """While a file is being replayed, what comes in is kept in another one."""
    spool = Spool(tmp_path, limit_bytes=_LIMIT)
    spool.append([b"old"])
    with spool.claim() as (claimed,):
        spool.append([b"new"])
        assert list(read_records(claimed)) == [b"old"]
        claimed.unlink()
    assert records_in(tmp_path) == [b"new"]
    spool.close()


def test_records_of_a_dead_process_can_be_claimed_by_one_only(tmp_path: Path) -> None:
    """The files of a killed worker are free; two who want them do not both get them."""
    command = [sys.executable, "-c", _DIE_WITH_RECORDS, str(tmp_path), "die"]
    assert subprocess.run(command, check=False, timeout=30).returncode == 9
    first, second = Spool(tmp_path, limit_bytes=_LIMIT), Spool(tmp_path, limit_bytes=_LIMIT)
    with first.claim() as (claimed,):
        assert list(read_records(claimed)) == [b"record 0", b"record 1", b"record 2"]
        with second.claim() as nothing:
            assert nothing == []


def test_records_of_a_living_process_stay_its_own(tmp_path: Path) -> None:
    """A worker that is alive replays its records itself."""
    command = [sys.executable, "-c", _DIE_WITH_RECORDS, str(tmp_path), "live"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        with Spool(tmp_path, limit_bytes=_LIMIT).claim() as claimed:
            assert claimed == []
        owner.communicate("")
