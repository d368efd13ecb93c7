"""Real headlines against the service of today, and the service against the mathematics it was made from."""

import re

import numpy as np

from bandits.simulation import RewardTables, regret, uniform_regret
from bandits.thompson import ThompsonSampling
from benchmarks.lockstep import Lockstep
from tests.running import ADMIN_KEY, Service

CLEAR_TEST = "53860d3c92398a9dda00001b"  # its best headline is clicked twice as often as the second


def test_a_short_replay_of_a_real_headline_test(own_service: Service) -> None:
    """15,000 viewers of real headlines: each is counted once, regret is told, and the statistics equal the log."""
    arguments = ["--test", CLEAR_TEST, "--decisions", "15000", "--rate", "3000", "--draw", "counts"]
    replayed = own_service.command("replay", "upworthy", "--url", own_service.url, "--key", ADMIN_KEY, *arguments)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "15,000 decisions in" in replayed.stdout
    assert "failures" not in replayed.stdout
    assert ADMIN_KEY not in replayed.stdout + replayed.stderr
    row = re.search(rf"^ *{CLEAR_TEST[:12]} +4 +1\.37% +15,000 +(\d+) +(\d+) +([\d.]+)", replayed.stdout, re.MULTILINE)
    assert row, replayed.stdout
    lost, equally, ratio = (float(figure) for figure in row.groups())
    assert equally == 91
    assert abs(lost / equally - ratio) < 0.02
    assert "of 1 tests end with regret below half of uniform's" in replayed.stdout
    verified = own_service.command("verify")
    assert verified.returncode == 0, verified.stdout


def test_the_service_plays_the_game_that_is_simulated(service: Service) -> None:
    """Through HTTP, each allocation is the policy's for the outcomes so far, and the arms are dealt by it.

    Four experiments of 600 decisions, an allocation after every 100. The deal: no arm's count is further from its
    summed probabilities than 8 standard deviations (a Poisson tail: below 1e-7 for all), and regret is below 0.45 of
    uniform's, where simulations have 0.28 ± 0.02, and 0.56 with an allocation every 300.
    """
    rates = np.arange(10, 0, -1) / 10
    tables = RewardTables.of_rates(rates, runs=4, horizon=600, rng=np.random.default_rng(1))
    game = Lockstep(service.url, ADMIN_KEY, ThompsonSampling(min_propensity=0.01, warm_up=0), tables)
    game.play(every=100)
    game.close()
    assert game.largest_difference < 1e-9
    assert np.all(game.pulls.sum(axis=1) == 600)
    assert np.abs(game.excess).max() < 8
    assert np.all(regret(game.pulls, rates) < 0.45 * uniform_regret(rates, 600))
