import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from app.replay import HeadlineOptions, read_tests, replay_upworthy, simulate_upworthy
from app.replay.bulk import BulkDealer
from app.replay.client import Client, RequestRefused, ServiceAway
from app.replay.regrets import HeadlineResult
from bandits.simulation import RewardTables
from tests.app.replay.conftest import StandIn


def run(stand_in: StandIn, tests: int = 1, **changes: Any) -> tuple[list[HeadlineResult], str]:
    """Replay against the stand-in; the results and what was printed."""
    out = io.StringIO()
    options = HeadlineOptions(**{"url": stand_in.url, "key": "k", "rate": 1e6, "decisions": 1100, **changes})
    return replay_upworthy(read_tests()[:tests], options, Console(file=out, width=120)), out.getvalue()


def test_deals_all_decisions_in_batches_and_tells_every_click(stand_in: StandIn) -> None:
    """A new experiment, batches of 250 and the rest, an event for each click, a stop: that is what the service gets."""
    (result,), printed = run(stand_in)
    paths = stand_in.paths()
    experiment = paths[0].removeprefix("PUT ")
    assert experiment.startswith("/v1/experiments/upworthy-5314692e5187adda77000006-")
    assert paths.count("POST /v1/recommendations/batch") == 5
    assert paths[-2:] == [f"GET {experiment}/arms", f"POST {experiment}/stop"]
    dealt = Counter(decision["arm"] for decision in stand_in.decisions.values())
    assert result.course[-1].tolist() == [dealt[str(arm)] for arm in range(4)]
    rewards = result.test.rewards("rate", horizon=1100, seed=1)
    assert len(stand_in.events) == rewards.total(result.course[-1:]).sum() > 0
    assert "1,100 decisions in" in printed
    assert "of 1 tests end with regret below half of uniform's" in printed
    assert "warm-up 100" in printed


def test_tests_side_by_side_have_experiments_of_their_own(stand_in: StandIn) -> None:
    """Three tests, three experiments, a row each."""
    results, printed = run(stand_in, tests=3, decisions=300)
    assert [result.decisions for result in results] == [300] * 3
    assert len({path for method, path, _ in stand_in.calls if method == "PUT"}) == 3
    assert all(result.test.test_id[:12] in printed for result in results)


def test_a_second_replay_starts_afresh(stand_in: StandIn) -> None:
    """What one replay has taught the service does not flatter the next."""
    run(stand_in, decisions=10)
    run(stand_in, decisions=10)
    assert len({path for method, path, _ in stand_in.calls if method == "PUT"}) == 2


def test_survives_a_service_that_is_away(stand_in: StandIn) -> None:
    """503 and lost answers are waited out; nobody is dealt or counted twice."""
    stand_in.away, stand_in.hang_up = 2, 2
    (result,), printed = run(stand_in, decisions=500)
    assert result.decisions == len(stand_in.decisions) == 500
    assert "4 retries" in printed


def test_refusal_is_an_error(stand_in: StandIn) -> None:
    """A wrong key ends it with the service's reason."""
    stand_in.problem = (401, {"title": "No valid API key was given"})
    with pytest.raises(RequestRefused, match="401 No valid API key"):
        run(stand_in, tests=2)


def test_absent_service_is_an_error_in_the_end(stand_in: StandIn) -> None:
    """Patience has its limit."""
    with pytest.raises(ServiceAway):
        run(stand_in, url="http://127.0.0.1:9", patience_s=0.2)


def test_one_refused_decision_of_a_batch_is_an_error(stand_in: StandIn) -> None:
    """The problem that stands in the place of a decision is told."""
    client = Client(stand_in.url, "k")
    client.put_experiment("msweb", {"arms": [{"key": "only"}]})
    requests = [{"experiment": "msweb", "unit": unit, "decision_id": unit} for unit in ("first", "refuse-me")]
    assert client.recommend_batch(requests[:1])[0].arm == "only"
    with pytest.raises(RequestRefused, match="Conflict; stopped"):
        client.recommend_batch(requests)
    client.close()


def test_every_outcome_is_told_when_silence_means_nothing(stand_in: StandIn) -> None:
    """Explicitly, each decision has an event, and the n-th pull of an arm its n-th reward."""
    client = Client(stand_in.url, "k")
    client.put_experiment("msweb", {"arms": [{"key": "0"}, {"key": "1"}]})
    tables = RewardTables.of_counts([1, 3], [4, 4], horizon=40, rng=np.random.default_rng(1))
    dealer = BulkDealer(client, "msweb", tables, explicit=True)
    rewarded, statuses = dealer.deal(40)
    assert statuses == ["accepted"] * 40
    for arm in (0, 1):
        told = [stand_in.events[d.decision_id]["value"] for d, _ in rewarded if d.arm == str(arm)]
        assert told == [tables.reward(0, arm, pull) for pull in range(dealer.pulls[arm])]
    client.close()


def test_in_process_the_same_seed_deals_the_same() -> None:
    """Without a service the replay can be repeated to the last decision, and the tests' results differ."""
    options = HeadlineOptions(decisions=2000, draw="counts")
    out = io.StringIO()
    first, again = (simulate_upworthy(read_tests()[:2], options, Console(file=out, width=120)) for _ in range(2))
    assert [one.course.tolist() for one in first] == [one.course.tolist() for one in again]
    assert [one.decisions for one in first] == [2000, 2000]
    assert "in process" in out.getvalue()
    assert "without replacement" in out.getvalue()
