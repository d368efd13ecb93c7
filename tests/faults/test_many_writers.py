"""Many writers at once, repeating and reordering; two services on one database."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.talking import arms, fresh_id
from tests.faults.load import Client, Decision, Load, check_promises, experiment
from tests.faults.site import LONG, Site
from tests.running import Service, until

_WRITERS = 32


def test_repeated_and_reordered_writes_count_once(site: Site, key: str) -> None:
    """32 writers at two services repeat each request, and send feedback before its decision: all counts once."""
    experiment(site.service, key)
    loads = [Load([s.url, t.url], key) for s, t in ((site.service, site.other), (site.other, site.service))]
    decisions = [Decision(fresh_id()) for _ in range(1600 if LONG else 200)]
    jobs = [(step, decision) for decision in decisions for step in ("decide", "feed_back") * 2]
    random.Random(1).shuffle(jobs)
    guard = threading.Lock()

    def work(number: int) -> None:
        client = Client(loads[number % 2], 0)
        while True:
            with guard:
                if not jobs:
                    return
                step, decision = jobs.pop()
            getattr(client, step)(decision)

    with ThreadPoolExecutor(_WRITERS) as threads:
        list(threads.map(work, range(_WRITERS)))
    for load in loads:
        assert load.statuses.keys() == {200}
        assert load.broken == []
    loads[0].decisions += decisions
    assert all(len(d.answers) >= 2 and d.kept == d.sent.keys() for d in decisions)
    check_promises(site.service, loads[0])
    check_promises(site.other, loads[0])


def test_two_services_on_one_database_are_one(site: Site, key: str) -> None:
    """A retry at the other service gets the first answer, feedback goes to either, and both serve what was learned."""
    experiment(site.service, key)
    first, second = site.service.api(), site.other.api()
    chosen = random.Random(2)
    made = []
    until(lambda: second.get(f"/v1/experiments/{key}").status == 200, "the other service to know it")
    for number in range(60):
        body = {"experiment": key, "unit": f"u{number}", "decision_id": fresh_id()}
        one, other = chosen.sample((first, second), 2)
        answer = one.post("/v1/recommendations", body).ok()
        assert other.post("/v1/recommendations", body).ok() == answer
        made.append(answer)
        event = {"decision_id": answer["decision_id"], "value": int(answer["arm"] == "a")}
        assert other.post("/v1/feedback", event).ok()["status"] == "accepted"
        assert one.post("/v1/feedback", event).ok()["status"] == "duplicate"
    counted = {arm: row["decisions"] for arm, row in arms(second, key).items()}
    assert counted == Counter(answer["arm"] for answer in made)
    until(lambda: served(site.service, key) == served(site.other, key), "both to serve the same allocation", 10)
    first.close()
    second.close()
    for service in (site.service, site.other):
        verified = service.command("verify")
        assert verified.returncode == 0, verified.stdout


def served(service: Service, key: str) -> int:
    """The allocation that a service deals from."""
    api = service.api()
    number = api.post("/v1/recommendations", {"experiment": key, "unit": "probe"}).ok()["allocation"]
    api.close()
    return int(number)
