import numpy as np
import pytest

from app.simulation.arms import ModelRanking, local_arms, truth
from app.simulation.arrivals import arrivals
from app.simulation.clicks import actions, reward_probability
from app.simulation.scenarios import SCENARIOS, Conditions
from app.simulation.world import World, build_world, item_id


@pytest.fixture(scope="module")
def world() -> World:
    """A small world."""
    return build_world(np.random.default_rng(1), n_users=300, n_items=100)


def test_the_same_seed_makes_the_same_world(world: World) -> None:
    """Attraction, catalogue and contexts follow the seed; another seed gives others."""
    again, other = (build_world(np.random.default_rng(seed), n_users=300, n_items=100) for seed in (1, 2))
    audience = Conditions().audience
    assert again.items() == world.items() != other.items()
    assert [again.context(u, audience) for u in range(9)] == [world.context(u, audience) for u in range(9)]


def test_clicks_come_as_often_as_the_truth_says(world: World) -> None:
    """20,000 drawn lists: the share with a click is within 5.5 standard errors (false alarm < 4e-8)."""
    rng, rows, n = np.random.default_rng(3), [5, 1, 7, -1], 20_000
    p = reward_probability(world, 0, rows, 0.9)
    drawn = sum(bool(actions(rng, world, 0, rows, appeal=0.9, mean_delay_s=1)) for _ in range(n))
    assert abs(drawn / n - p) < 5.5 * np.sqrt(p * (1 - p) / n)


def test_a_list_with_a_click_is_examined_from_the_top(world: World) -> None:
    """The same item is clicked half as often at the second position, and what is foreign never."""
    assert reward_probability(world, 0, [-1, 4], 1.0) == pytest.approx(reward_probability(world, 0, [4], 1.0) / 2)
    assert world.row("1008") == world.row(item_id(100)) == -1
    assert world.row(item_id(99)) == 99


def test_arms_differ_and_the_fault_changes_the_truth(world: World) -> None:
    """The model is best, then similar, and the bad arm is worst; an arm that loses its appeal loses its reward."""
    model = ModelRanking(world, np.random.default_rng(2))
    rates = truth(world, Conditions(), 5, range(300), model)
    assert rates["model"] > rates["similar"] > rates["popular"] > rates["random"] > rates["unpopular"]
    after = truth(world, SCENARIOS["reward_drop"].after, 5, range(300))
    assert after["similar"] < rates["similar"] / 10
    assert {arm: after[arm] for arm in ("popular", "random")} == {arm: rates[arm] for arm in ("popular", "random")}
    assert list(local_arms(world)) == ["popular", "similar", "random", "unpopular"]


def test_arrivals_follow_the_seed_and_the_rate() -> None:
    """The number of arrivals is Poisson: within 5.5 standard deviations of its mean (false alarm < 1e-7)."""
    for name in ("quiet", "bots", "seasonality"):
        first, again = (
            list(arrivals(np.random.default_rng(4), SCENARIOS[name], n_users=10, rate=100, duration_s=100))
            for _ in range(2)
        )
        assert first == again
        assert abs(len(first) - 10_000) < 550
        assert (name == "bots") == any(arrival.bot is not None for arrival in first)


def test_each_scenario_says_what_it_moves() -> None:
    """All but the quiet one have a fault that makes a difference and a signal; arms that are hit exist."""
    for scenario in SCENARIOS.values():
        assert (scenario.signal is None) == (scenario.before == scenario.after) == (scenario.name == "quiet")
        assert scenario.before == scenario.at(0.49)
        assert scenario.after == scenario.at(0.5)
        assert scenario.arm in {None, "popular", "similar", "random", "unpopular", "model"}
