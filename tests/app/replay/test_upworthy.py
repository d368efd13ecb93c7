import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.errors import ConfigurationError
from app.replay.upworthy import DATA, HeadlineTest, policy, read_tests, specification
from app.specification import ExperimentRequest, check


@pytest.fixture(scope="module")
def headline_tests() -> list[HeadlineTest]:
    """The twenty tests."""
    return read_tests()


def test_the_twenty_are_read_whole(headline_tests: list[HeadlineTest]) -> None:
    """Arms, impressions, clicks and the best arm are those that the list of tests tells."""
    with (DATA / "bench_tests.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(headline_tests) == len(listed) == 20
    for test, row in zip(headline_tests, listed, strict=True):
        assert test.test_id == row["test_id"]
        counts = (len(test.headlines), sum(test.impressions), sum(test.clicks), int(test.rates.argmax()))
        assert counts == tuple(int(row[name]) for name in ("n_arms", "impressions", "clicks", "best_arm"))
        assert test.rates.max() == pytest.approx(float(row["best_ctr"]))


def test_any_test_of_the_archive_can_be_read() -> None:
    """Also one beside the twenty, by its id as text, with its headlines in the order of its arms."""
    (test,) = read_tests(["546d88fb84ad38b2ce000024"])
    assert test.headlines[0].startswith("They're Being Called 'Walmart's Worst Nightmare.'")
    assert (test.impressions[:2], test.clicks[:2]) == ((3052, 3033), (150, 122))


def test_missing_data_is_explained(tmp_path: Path) -> None:
    """Outside the repository the message says which file is missing and where it belongs."""
    with pytest.raises(ConfigurationError, match=r"bench_tests\.csv is missing: .* data/upworthy"):
        read_tests(folder=tmp_path)


def test_an_unknown_test_is_explained() -> None:
    """A misspelt id is named."""
    with pytest.raises(ConfigurationError, match="no test 'abc'"):
        read_tests(["abc"])


def test_specification_is_valid(headline_tests: list[HeadlineTest]) -> None:
    """Each of the twenty is an experiment that the service takes, with the service's own default policy."""
    for test in headline_tests:
        made = msgspec.convert(specification(test), ExperimentRequest)
        check(made.specification())
        assert made.policy == policy() == ExperimentRequest(arms=made.arms).policy
        assert [msgspec.to_builtins(arm.recommender)["value"] for arm in made.arms] == list(test.headlines)


def test_both_draws_follow_the_data(headline_tests: list[HeadlineTest]) -> None:
    """From counts, each arm has its clicks after its impressions; from rates, about so many: false alarm below 1e-8."""
    test = headline_tests[0]
    most = max(test.impressions)
    exact = test.rewards("counts", horizon=most, seed=1)
    assert exact.total(np.array([test.impressions])).tolist() == [list(test.clicks)]
    drawn = test.rewards("rate", horizon=most, seed=1).total(np.array([test.impressions]))[0]
    assert np.all(np.abs(drawn - test.clicks) < 6 * np.sqrt(test.clicks))


def test_draws_follow_the_seed(headline_tests: list[HeadlineTest]) -> None:
    """The same seed gives the same clicks; another seed or another test, others."""
    first, again, other = (headline_tests[0].rewards("rate", horizon=5000, seed=seed).sums for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
