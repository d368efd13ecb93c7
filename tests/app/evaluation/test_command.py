"""`croupier evaluate`, as a user calls it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.evaluation import EvaluationReport

_OPEN_BANDIT = Path(__file__).parents[3] / "data" / "open-bandit"
_MEN = str(_OPEN_BANDIT / "random" / "men" / "men.csv.gz")
_WOMEN = str(_OPEN_BANDIT / "bts" / "women" / "women.csv.gz")


def evaluate(*arguments: str) -> Result:
    """What the command does."""
    return CliRunner().invoke(main, ["evaluate", *arguments], env={"COLUMNS": "80"})


def answer(*arguments: str) -> EvaluationReport:
    """Its JSON, decoded strictly."""
    return msgspec.json.decode(evaluate(*arguments, "--json").stdout, type=EvaluationReport)


def test_table_fits_80_columns() -> None:
    """One row for the log and one for each estimator, no figure cut short; the status is 0."""
    result = evaluate("--log", _MEN, "--target", "uniform")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.stdout
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["ips"] == ["0.0046", "0.0006767", "0.003274", "0.005926", "10,000", "1"]
    assert rows["dm"][-2:] == ["–", "–"]
    assert "Doubtful: only 46 rewarded rows have weight: intervals are rough below 50" in lines


def test_json_holds_the_same() -> None:
    """And can be read back as the documented shape."""
    report = answer("--log", _MEN, "--target", "uniform", "--estimators", "ips, dr")
    assert list(report.estimates) == ["ips", "dr"]
    assert report.log.rows == 10_000
    assert report.log.arms == 34
    ips = report.estimates["ips"]
    assert ips is not None
    assert ips.value == pytest.approx(0.0046, rel=1e-12)
    assert ips.effective_sample_size == pytest.approx(10_000)
    assert report.unavailable == {}


def test_a_log_that_cannot_tell_gives_reasons_and_status_1() -> None:
    """No number stands where an estimate would, and the reason is told once."""
    result = evaluate("--log", _WOMEN, "--target", "uniform")
    assert result.exit_code == 1
    told = " ".join(result.stdout.split())
    assert told.count("No estimate: the 10,000 rows are worth 2.08, and 100 are needed") == 1
    assert "largest weight 21,739" in told
    report = answer("--log", _WOMEN, "--target", "uniform")
    assert set(report.estimates.values()) == {None}
    assert report.unavailable.keys() == {f"#/estimates/{name}" for name in report.estimates}


def test_targets_and_intervals_can_be_chosen() -> None:
    """A policy learns from the log; the bootstrap is reproducible by its seed."""
    target = 'policy={"kind": "thompson_sampling"}'
    arguments = (
        "--log",
        _MEN,
        "--target",
        target,
        "--interval",
        "bootstrap",
        "--estimators",
        "snips",
        "--level",
        "0.9",
    )
    first, again, other = answer(*arguments), answer(*arguments), answer(*arguments, "--seed", "2")
    assert first == again
    assert first.estimates["snips"] != other.estimates["snips"]
    assert (first.level, first.target) == (0.9, "policy thompson_sampling, learned from the log")
    sequence = answer("--log", _MEN, "--target", "uniform", "--interval", "sequence", "--estimators", "ips")
    assert "a confidence sequence needs 50 rewarded rows" in sequence.unavailable["#/estimates/ips"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--target": "arm=z"}, "cannot be evaluated: 'z' is no arm of the log; the arms are 0, 1, 2"),
        ({"--target": "best"}, "'best' is no target"),
        ({"--estimators": "magic"}, "estimator 'magic' is unknown"),
        ({"--level": "1"}, "a confidence level lies between 0 and 1, got 1"),
        ({"--folds": "1"}, "there must be 2 folds or more"),
        ({"--log": "nowhere.csv"}, "nowhere.csv cannot be read"),
        ({"--arm-column": "sku"}, "The log has no column for the arm (sku)"),
        ({"--reward-column": "timestamp"}, "10,000 rows are wrong\nline 2: the reward is '2019-11-24"),
    ],
)
def test_mistakes_are_told_in_a_sentence(options: dict[str, Any], message: str) -> None:
    """Status 1 and no traceback."""
    words = [word for option in ({"--log": _MEN, "--target": "uniform"} | options).items() for word in option]
    result = evaluate(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
