"""Real users of 1998 against the service of today."""

from tests.acceptance.talking import arms
from tests.running import ADMIN_KEY, Api, Service


def test_a_replay_at_high_rate_finds_the_better_arm_and_is_counted_exactly(own_service: Service, own_api: Api) -> None:
    """3,000 visitors as fast as they are served: the best arm of the data ends ahead, and every count is right."""
    arguments = ["--decisions", "3000", "--rate", "1000", "--window", "1", "--users", "16"]
    replayed = own_service.command("replay", "msweb", "--url", own_service.url, "--key", ADMIN_KEY, *arguments)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "best arm: similar" in replayed.stdout
    assert "failure" not in replayed.stdout
    assert ADMIN_KEY not in replayed.stdout + replayed.stderr
    report = arms(own_api, "msweb")
    assert sum(arm["decisions"] for arm in report.values()) == 3000
    assert max(report, key=lambda arm: report[arm]["mean"] or 0) == "similar"
    assert report["similar"]["propensity"] == max(arm["propensity"] for arm in report.values())
    verified = own_service.command("verify")
    assert verified.returncode == 0, verified.stdout
