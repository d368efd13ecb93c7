"""Logs from files: which columns mean what, and what is wrong with a row."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import InvalidInput
from app.evaluation import Columns, read_log

_OPEN_BANDIT = Path(__file__).parents[3] / "data" / "open-bandit"


def written(folder: Path, text: str) -> Path:
    """A CSV file with that text."""
    path = folder / "log.csv"
    path.write_text(text)
    return path


def test_csv_becomes_a_log(tmp_path: Path) -> None:
    """Columns are found by name, in any order and among others; arms stand in order, numbers by size."""
    log = read_log(written(tmp_path, "context,reward,arm,propensity\nx,1,10,0.5\n\ny,0.25,9,1\nz,-1,b,1e-6\n"))
    assert log.arms == ("9", "10", "b")
    assert [log.arms[arm] for arm in log.action] == ["10", "9", "b"]
    assert log.reward.tolist() == [1, 0.25, -1]
    assert log.propensity.tolist() == [0.5, 1, 1e-6]


@pytest.mark.parametrize(
    "header",
    ["arm,reward,propensity", "action,reward,pscore", "item_id,click,propensity_score", "\ufeffarm,click,pscore"],
)
def test_known_column_names(tmp_path: Path, header: str) -> None:
    """Croupier's own names, those of obp, those of the Open Bandit Dataset; a byte-order mark is no part of one."""
    assert read_log(written(tmp_path, f"{header}\na,1,0.5\n")).arms == ("a",)


def test_columns_can_be_named(tmp_path: Path) -> None:
    """A given name wins over the known ones."""
    path = written(tmp_path, "arm,reward,propensity,shown,revenue,p\na,0,1,b,2.5,0.5\n")
    log = read_log(path, columns=Columns(arm="shown", reward="revenue", propensity="p"))
    assert (log.arms, log.reward[0], log.propensity[0]) == (("b",), 2.5, 0.5)


def test_arms_can_be_declared(tmp_path: Path) -> None:
    """An arm that was never chosen is an arm."""
    log = read_log(written(tmp_path, "arm,reward,propensity\nb,1,0.5\n"), arms=["a", "b"])
    assert (log.arms, log.action.tolist()) == (("a", "b"), [1])


def test_open_bandit_log_is_read_as_it_is() -> None:
    """Gzip, an unnamed first column, and one slot of three: counts are those of the reference."""
    path = _OPEN_BANDIT / "bts" / "men" / "men.csv.gz"
    log = read_log(path)
    assert (log.n, log.n_arms, log.reward.sum()) == (10_000, 34, 69)
    assert log.arms == tuple(map(str, range(34)))
    first_slot = read_log(path, position=1)
    assert (first_slot.n, first_slot.reward.sum()) == (3339, 30)


def test_parquet_is_the_same_log(tmp_path: Path) -> None:
    """Whatever types its columns have; whole numbers are arms by their digits."""
    columns = {"action": [3, 1, 3], "reward": [True, False, True], "pscore": pa.array([0.5, 0.25, 1], pa.float32())}
    pq.write_table(pa.table(columns), tmp_path / "log")
    log = read_log(tmp_path / "log")
    assert (log.arms, log.action.tolist(), log.reward.tolist()) == (("1", "3"), [1, 0, 1], [1, 0, 1])
    with_nulls = pa.table({**columns, "action": pa.array([3.0, None, 3.0])})
    pq.write_table(with_nulls, tmp_path / "nulls")
    with pytest.raises(InvalidInput, match="1 rows are wrong\nrow 2: the arm is missing"):
        read_log(tmp_path / "nulls")


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is missing, the message says how to get it."""
    (tmp_path / "log").write_bytes(b"PAR1")
    monkeypatch.delitem(sys.modules, "app.evaluation.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"install it with `pip install 'croupier\[parquet\]'`"):
        read_log(tmp_path / "log")


def test_wrong_rows_are_told_by_line(tmp_path: Path) -> None:
    """All that is wrong is told at once, each by the line of the file it ends on; nothing is left out silently."""
    path = written(
        tmp_path,
        "note,arm,reward,propensity\n"
        "x,a,1,0.5\n"
        '"two\nlines",a,1,0\n'
        "x,a,oops,0.5\n"
        "x,,1,0.5\n"
        "x,a,1\n"
        "x,a,nan,0.5\n"
        "x,a,1,1.5\n",
    )
    with pytest.raises(InvalidInput) as caught:
        read_log(path)
    assert caught.value.detail.splitlines() == [
        "6 rows are wrong",
        "line 4: the propensity is 0; it lies above 0 and is at most 1",
        "line 5: the reward is 'oops', not a number",
        "line 6: the arm is missing",
        "line 7: there are 3 fields, and 4 in the header",
        "line 8: the reward is 'nan', not a finite number",
        "line 9: the propensity is 1.5; it lies above 0 and is at most 1",
    ]


def test_many_wrong_rows_are_counted(tmp_path: Path) -> None:
    """The first 20 are told, the others counted."""
    with pytest.raises(InvalidInput) as caught:
        read_log(written(tmp_path, "arm,reward,propensity\n" + "a,x,0.5\n" * 1234))
    lines = caught.value.detail.splitlines()
    assert (len(lines), lines[0], lines[-1]) == (22, "1,234 rows are wrong", "and 1,214 more")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no column for the arm \(arm or action or item_id\)"),
        (
            "arm,reward\na,1\n",
            r"no column for the propensity \(propensity or pscore or propensity_score\); it has arm, re",
        ),
        ("arm,arm,reward,propensity\n", "has 2 columns named 'arm'; one is needed"),
        ("arm,reward,propensity\n", "The log holds no row"),
        ('arm,reward,propensity\na,1,0.5\nb,"1"x,0.5\n', "line 3: this is no CSV"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message names what is missing, and what is there instead."""
    with pytest.raises(InvalidInput, match=message):
        read_log(written(tmp_path, text))


def test_a_position_must_exist(tmp_path: Path) -> None:
    """Asking for one that no row has, or without the column, is an error and not an empty log."""
    with pytest.raises(InvalidInput, match="The log holds no row of position 7"):
        read_log(written(tmp_path, "arm,reward,propensity,position\na,1,0.5,1\n"), position=7)
    with pytest.raises(InvalidInput, match="no column for the position"):
        read_log(written(tmp_path, "arm,reward,propensity\na,1,0.5\n"), position=1)


def test_bytes_matter_in_the_arm_only(tmp_path: Path) -> None:
    """What is no UTF-8 is refused as an arm, and ignored in a column that is not read."""
    path = tmp_path / "log"
    path.write_bytes(b"arm,reward,propensity,note\na,1,0.5,\xff\n")
    assert read_log(path).n == 1
    path.write_bytes(b"arm,reward,propensity,note\n\xff,1,0.5,x\n")
    with pytest.raises(InvalidInput, match="line 2: the arm '\ufffd' is no UTF-8"):
        read_log(path)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Missing ones, folders, torn gzip, and what only looks like Parquet."""
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"arm,reward,propensity\n" + np.random.default_rng(1).bytes(9999))[:5000])
    false = tmp_path / "false.parquet"
    false.write_bytes(b"PAR1" + bytes(100))
    for path in (tmp_path / "missing", tmp_path, torn, false):
        with pytest.raises(InvalidInput, match=r"cannot be read: |no Parquet that can be read"):
            read_log(path)
