"""Exports of logs: what the file system and missing packages do to them."""

import sys
from pathlib import Path

import pytest

from app.errors import ConfigurationError, NotFound
from app.export import export_log
from app.store.database import Database
from tests.app.building import decision, put, record


def test_without_pyarrow_the_message_says_how_to_get_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And which format does without; no file is left."""
    put(database, "home")
    monkeypatch.delitem(sys.modules, "app.export.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"`pip install 'croupier\[parquet\]'`, or use --format obp"):
        export_log(database, "home", "parquet", tmp_path / "log", since=None, until=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["parquet", "obp"])
def test_a_file_that_was_there_stays_until_the_new_one_is_whole(database: Database, tmp_path: Path, form: str) -> None:
    """An export that fails leaves it alone; one that succeeds replaces it."""
    path = tmp_path / "log"
    path.write_text("old")
    with pytest.raises(NotFound):
        export_log(database, "home", form, path, since=None, until=None)
    assert path.read_text() == "old"
    put(database, "home")
    assert export_log(database, "home", form, path, since=None, until=None) == 0
    assert path.read_bytes() != b"old"
    record(database, [decision()])
    # Just made, it is not mature: only the format with everything has it.
    assert export_log(database, "home", form, path, since=None, until=None) == (form == "parquet")
    assert list(tmp_path.iterdir()) == [path]
