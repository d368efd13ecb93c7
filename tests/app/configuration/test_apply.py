"""`croupier apply`: what it changes, what it refuses, and what it says."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

import msgspec
import pytest

from app import alerts, experiments
from app.avatars import AvatarRequest, operating
from app.specification import Specification
from app.store.database import Connection, Database
from monitoring.alert_rules import Absence
from tests.app.building import query, specification
from tests.app.configuration.files import SECRETS, SHOP, croupier, written

_EVERYTHING = "SELECT count(*) FROM audit_log"


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Path:
    """The file of a shop, which is applied."""
    file = written(tmp_path, SHOP)
    applied = croupier(database, "apply", file)
    assert applied.exit_code == 0, applied.output
    return file


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shop's file with other text in some places."""
    text = SHOP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return written(folder, text, "changed.yaml")


def count(database: Database) -> int:
    """How many changes the audit log has."""
    [(found,)] = query(database, _EVERYTHING)
    return int(found)


def test_everything_that_a_file_declares_is_made_once(database: Database, shop: Path) -> None:
    """An experiment that serves, its rule and avatar, a rule for all, and a channel; each audited, and then no more."""
    assert experiments.get(database, "shop").allocation == 1
    assert alerts.rules(database, "shop").keys() >= {"fallbacks", "no-looks"}
    assert [channel["key"] for channel in alerts.channels(database)] == ["ops"]
    assert [avatar["avatar"] for avatar in operating.listed(database, "shop")] == ["gardener"]
    assert query(database, "SELECT subject, actor FROM audit_log ORDER BY id") == [
        (subject, "cli")
        for subject in ("shop", "channel:ops", "rule:no-looks", "rule:fallbacks", "avatar:shop/gardener")
    ]
    again = croupier(database, "apply", shop)
    assert (again.exit_code, again.output) == (0, "Nothing to do\n")
    assert count(database) == 5


def test_a_dry_run_shows_the_difference_and_changes_nothing(database: Database, shop: Path, tmp_path: Path) -> None:
    """Exit status 4 where something would change, 0 where nothing would; the diff names file and line."""
    file = changed(tmp_path, ("warm_up: 50", "warm_up: 60"))
    shown = croupier(database, "apply", "--dry-run", file)
    assert shown.exit_code == 4
    lines = shown.output.splitlines()
    assert lines[:2] == ["--- experiment shop", f"+++ experiment shop  {file}:2"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-  warm_up: 50", "+  warm_up: 60"]
    assert re.fullmatch(r"Would be 0 made, 1 changed, 0 removed: plan [0-9a-f]{12}", lines[-1])
    assert count(database) == 5
    assert experiments.get(database, "shop").version == 1
    assert croupier(database, "apply", "--dry-run", shop).exit_code == 0


def test_every_fault_is_told_with_its_file_line_and_pointer(database: Database, tmp_path: Path) -> None:
    """Of shapes, of what parts say together, of YAML, and of what stands twice, in all files at once."""
    bad = changed(
        tmp_path,
        ("{kind: similar}", "{kind: similr}"),
        ("window_s: 600", "window_s: 0, colour: red"),
        ("k: 5,", "k: .inf, k: 5,"),
    )
    contradictory = written(tmp_path, "experiments:\n  a:\n    arms: [{key: a}]\n    control: b\n", "control.yaml")
    twice = written(tmp_path, "\nexperiments: {a: {arms: [{key: a}]}}\n---\nalert_rules: [1]\n", "twice.yaml")
    broken = written(tmp_path, "experiments:\n  a: &a {}\n  b: *a\n", "broken.yaml")
    refused = croupier(database, "apply", bad, contradictory, twice, broken)
    assert refused.exit_code == 1
    told = [line.replace(f"{tmp_path}/", "").split(": ", 2) for line in refused.output[len("Error: ") :].splitlines()]
    assert {(place, pointer): detail[:24] for place, pointer, detail in told} == {
        ("changed.yaml:7", "#/experiments/shop/arms/1/recommender/kind"): "Invalid value 'similr'; ",
        ("changed.yaml:9", "#/experiments/shop/reward/window_s"): "Expected `float` >= 1.0",
        ("changed.yaml:9", "#/experiments/shop/reward/colour"): "there is no such field; ",
        ("changed.yaml:13", "#/experiments/shop/avatars/gardener/k"): "stands here twice, first",
        ("control.yaml:4", "#/experiments/a/control"): "'b' is no arm; the arms ",
        ("twice.yaml:2", "#/experiments/a"): "experiment a is declared",
        ("twice.yaml:4", "#/alert_rules"): "Expected `object`, got `",
        ("broken.yaml:3", "#"): "this is not YAML: aliase",
    }
    assert len(told) == 8
    assert count(database) == 0


def test_what_yaml_takes_for_no_text_is_refused_where_it_stands(database: Database, tmp_path: Path) -> None:
    """A key as `on` is a boolean to YAML, and a set is nothing that JSON has."""
    file = written(tmp_path, "experiments:\n  on: {arms: [{key: a}]}\n")
    assert f"{file}:2: #/experiments/on: YAML takes on for no text; put it in quotes" in croupier(
        database, "apply", file
    ).output.removeprefix("Error: ")
    file = written(tmp_path, "experiments: !!binary aGVsbG8=\nalert_rules: !!set {a, b}\n")
    refused = croupier(database, "apply", file)
    assert refused.exit_code == 1
    assert "JSON could not say this" in refused.output or "Expected `object`" in refused.output


def test_an_experiment_that_somebody_else_makes_meanwhile_is_not_written_over(
    database: Database, tmp_path: Path
) -> None:
    """The diff said that it would be made, so nothing is written."""
    file = written(tmp_path, SHOP)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            experiments.put_on(connection, "shop", specification("x"), state="running", if_match=None, actor="other")
            applying = pool.submit(croupier, database, "apply", file)
            sleep(0.3)
            assert not applying.done()
        refused = applying.result()
    assert refused.exit_code == 1
    assert "experiment shop was made by somebody else just now; run this again" in refused.output
    assert experiments.get(database, "shop").specification == specification("x")
    assert count(database) == 1


def test_numbers_that_json_does_not_have_are_refused(database: Database, tmp_path: Path) -> None:
    """They would become nulls, which often mean a default."""
    file = changed(tmp_path, ("value: 0.1", "value: .nan"))
    refused = croupier(database, "apply", file).output
    assert refused == f"Error: {file}:11: #/experiments/shop/alert_rules/fallbacks/value: nan is not a finite number\n"


@pytest.mark.usefixtures("shop")
def test_what_the_database_refuses_is_found_by_a_dry_run_too(database: Database, tmp_path: Path) -> None:
    """And then nothing is written of the other parts, which are fine; what depends on it is no fault of its own."""
    file = changed(
        tmp_path,
        ("{metric: click, ", "{metric: click, aggregation: max, "),
        ("value: 0.1", "value: 0.2"),
        ("  no-looks: ", "  new: "),
    )
    for options in ([], ["--dry-run"]):
        refused = croupier(database, "apply", file, *options)
        assert refused.exit_code == 1
        (line,) = refused.output.splitlines()
        assert f"{file}:9: #/experiments/shop/reward/aggregation: metric 'click' has outcomes" in line
    assert count(database) == 5


def test_a_paused_experiment_is_not_woken(database: Database, shop: Path, tmp_path: Path) -> None:
    """A state in the file counts when the experiment is made; afterwards the command says that it does not."""
    experiments.change_state(database, "shop", "pause", actor="tester")
    file = changed(tmp_path, ("  shop:\n", "  shop:\n    state: running\n"), ("warm_up: 50", "warm_up: 60"))
    applied = croupier(database, "apply", file)
    assert f"experiment shop stays paused: `state: running` ({file}:2) counts only when it is made" in applied.stderr
    assert experiments.get(database, "shop").state == "paused"
    assert croupier(database, "apply", shop).stderr == ""
    draft = written(tmp_path, "experiments: {later: {state: draft, arms: [{key: a}]}}", "draft.yaml")
    assert "+state: draft" in croupier(database, "apply", draft).stdout
    assert experiments.get(database, "later").state == "draft"


@pytest.mark.usefixtures("shop")
def test_another_plan_than_the_one_agreed_on_is_refused(database: Database, tmp_path: Path) -> None:
    """Somebody changed the experiment between the dry run and the real one: nothing is written."""
    file = changed(tmp_path, ("warm_up: 50", "warm_up: 60"))
    agreed = croupier(database, "apply", "--dry-run", file).output.split()[-1]
    other = changed(tmp_path, ("warm_up: 50", "warm_up: 70"))
    assert croupier(database, "apply", other).exit_code == 0
    file = changed(tmp_path, ("warm_up: 50", "warm_up: 60"))
    refused = croupier(database, "apply", "--plan", agreed, file)
    assert refused.exit_code == 1
    assert f"What would change is not plan {agreed} but " in refused.output
    assert count(database) == 6
    now_agreed = croupier(database, "apply", "--dry-run", file).output.split()[-1]
    assert croupier(database, "apply", "--plan", now_agreed, file).exit_code == 0


def _hold_out(connection: Connection, before: Specification) -> None:
    other = msgspec.structs.replace(before, holdout=0.25)
    experiments.put_on(connection, "shop", other, state="running", if_match=None, actor="other")


def _widen(connection: Connection, before: Specification) -> None:
    del before
    alerts.put_rule_on(connection, "", "no-looks", Absence(of="looks", window_s=7200), actor="other")


@pytest.mark.parametrize(("change", "undone"), [(_hold_out, "-holdout: 0.25"), (_widen, "-window_s: 7200.0")])
def test_a_change_that_is_under_way_is_waited_for_and_seen(
    database: Database, shop: Path, change: Callable[[Connection, Specification], None], undone: str
) -> None:
    """Of an experiment and of a rule alike: what is written over is what the diff shows."""
    before = experiments.get(database, "shop").specification
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            change(connection, before)
            applying = pool.submit(croupier, database, "apply", shop)
            sleep(0.3)
            assert not applying.done()
        applied = applying.result()
    assert applied.exit_code == 0
    assert undone in applied.output.splitlines()
    assert experiments.get(database, "shop").specification == before


def test_pruning_removes_what_the_sections_of_the_files_lack(database: Database, shop: Path, tmp_path: Path) -> None:
    """A section that is not there is left alone, as is the whole rest without --prune."""
    moment = datetime.now(UTC)
    operating.put(database, "shop", "extra", AvatarRequest(unit="u"), moment, actor="tester")
    alerts.put_rule(database, "", "extra", Absence(of="feedback"), actor="tester")
    alerts.put_channel(database, "extra", url="http://127.0.0.1/", secret="s" * 16, actor="tester")
    assert croupier(database, "apply", shop).output == "Nothing to do\n"
    channels = SHOP.index("alert_channels:")
    without_channels = written(tmp_path, SHOP[:channels], "without.yaml")
    pruned = croupier(database, "apply", "--prune", without_channels)
    assert pruned.output.endswith("Done: 0 made, 0 changed, 2 removed\n")
    assert [avatar["avatar"] for avatar in operating.listed(database, "shop")] == ["gardener"]
    assert "extra" not in alerts.rules(database, "")
    assert len(alerts.channels(database)) == 2
    assert croupier(database, "apply", "--prune", shop).output.endswith("1 removed\n")
    assert [channel["key"] for channel in alerts.channels(database)] == ["ops"]


def test_secrets_come_from_the_environment_and_are_never_shown(database: Database, shop: Path, tmp_path: Path) -> None:
    """From the variable that the file names, or the file that `<variable>_FILE` names; another secret is a change."""
    other = {"OPS_SECRET_FILE": str(written(tmp_path, "another secret, as long\n", "secret"))}
    for options, status in (["--dry-run"], 4), ([], 0):
        applied = croupier(database, "apply", shop, *options, secrets=other)
        assert applied.exit_code == status, applied.output
        assert "+secret: another, that of OPS_SECRET" in applied.output
        assert "as long" not in applied.output
    assert query(database, "SELECT secret FROM alert_channels") == [("another secret, as long",)]
    trail: Any = query(database, "SELECT before::text || after::text FROM audit_log WHERE subject = 'channel:ops'")
    assert all("secret" not in (entry or "") for (entry,) in trail)
    assert croupier(database, "apply", shop, secrets=other).output == "Nothing to do\n"


def test_a_channel_without_its_secret_is_refused(database: Database, tmp_path: Path) -> None:
    """The variable is missing, holds too little, or is not named though the channel is new."""
    file = written(tmp_path, SHOP)
    unnamed = changed(tmp_path, (", secret_env: OPS_SECRET", ""))
    for refused, reason in (
        (croupier(database, "apply", file, secrets={}), "neither OPS_SECRET nor OPS_SECRET_FILE is set"),
        (croupier(database, "apply", file, secrets={"OPS_SECRET": "short"}), "16 to 256 characters are wanted, not 5"),
        (croupier(database, "apply", unnamed), "channel ops is new: say in secret_env"),
    ):
        assert refused.exit_code == 1
        assert ".yaml:17: #/alert_channels/ops" in refused.output
        assert reason in refused.output
    assert count(database) == 0
    assert croupier(database, "apply", file, secrets=SECRETS).exit_code == 0
