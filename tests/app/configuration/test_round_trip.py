"""What is exported, applied, changes nothing."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.configuration.exporting import export_configuration
from app.configuration.reading import Wanted, read_files
from app.configuration.shape import ExperimentEntry
from app.configuration.text import as_yaml, concise
from app.specification import same
from app.store.database import Database
from tests.app.configuration.files import SECRETS, SHOP, croupier, written
from tests.app.configuration.random_parts import KEYS, entries

UNHURRIED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def read(text: str) -> Wanted:
    """What a file with this text declares."""
    with TemporaryDirectory() as folder:
        return read_files([written(Path(folder), text)])


@settings(UNHURRIED, max_examples=40)
@given(st.dictionaries(KEYS, entries(), min_size=1, max_size=2))
def test_any_configuration_survives_being_written_as_yaml(declared: dict[str, ExperimentEntry]) -> None:
    """Every field of every kind of part, whatever texts and numbers are in it."""
    wanted = read(as_yaml({"experiments": concise(declared)}))
    assert wanted.experiments == sorted(declared)
    for name, found in wanted.parts.items():
        entry = declared[name.experiment]
        of = {"experiment": {name.key: entry}, "alert rule": entry.alert_rules, "avatar": entry.avatars}[name.kind]
        assert not isinstance(of, msgspec.UnsetType)
        assert same(found.value, of[name.key])


@settings(UNHURRIED, max_examples=10)
@given(st.dictionaries(KEYS, entries(), min_size=1, max_size=2))
def test_what_any_configuration_is_exported_as_changes_nothing(
    shared: Callable[[], Database], declared: dict[str, ExperimentEntry]
) -> None:
    """Also with everything that other examples left in the database, and with --prune."""
    database = shared()
    with TemporaryDirectory() as folder:
        file = written(Path(folder), as_yaml({"experiments": concise(declared)}))
        made = croupier(database, "apply", file)
        assert made.exit_code == 0, made.output
        exported = written(Path(folder), export_configuration(database, []), "exported.yaml")
        again = croupier(database, "apply", exported, "--prune")
        assert (again.exit_code, again.output) == (0, "Nothing to do\n"), again.output


@pytest.fixture
def shared(shared_database: Database) -> Callable[[], Database]:
    """A function, since hypothesis would show a database with each failure."""
    return lambda: shared_database


def test_an_export_holds_everything_but_secrets(database: Database, tmp_path: Path) -> None:
    """With a line that says what to do about those; of named experiments only what is theirs."""
    assert croupier(database, "apply", written(tmp_path, SHOP)).exit_code == 0
    exported = croupier(database, "export-config").stdout
    assert "ops:" in exported
    assert SECRETS["OPS_SECRET"] not in exported
    assert "name in `secret_env`" in exported
    assert croupier(database, "apply", written(tmp_path, exported), "--prune").output == "Nothing to do\n"
    one = croupier(database, "export-config", "shop").stdout
    assert set(read(one).parts) == {name for name in read(SHOP).parts if name.experiment == "shop"}
    assert croupier(database, "export-config", "shp").output == "Error: There is no experiment 'shp'\n"
