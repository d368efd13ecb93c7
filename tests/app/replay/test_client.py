import msgspec
import pytest

from app.recommenders import CatalogueItem, Item
from app.replay.client import MAX_BODY, Client, FeedbackEvent, RequestRefused, ServiceAway, item_bodies
from tests.app.replay.conftest import StandIn


@pytest.fixture
def client(stand_in: StandIn) -> Client:
    """A client of the stand-in."""
    made = Client(stand_in.url + "/", "secret")
    made.put_experiment("msweb", {"arms": [{"key": "only"}]})
    return made


def test_decision_round_trip(client: Client, stand_in: StandIn) -> None:
    """A request goes out as JSON with the key, and the answer comes back as a value."""
    decision = client.recommend({"experiment": "msweb", "unit": "u", "k": 3, "decision_id": "d1"})
    assert (decision.decision_id, decision.arm, decision.propensity) == ("d1", "only", 1.0)
    assert decision.items[0] == Item("1008", 0.5)
    assert stand_in.keys == {"Bearer secret"}
    client.close()


def test_feedback_of_one_and_of_many(client: Client, stand_in: StandIn) -> None:
    """Each event has its own status, in both forms of the call; absent fields are not sent."""
    one = FeedbackEvent(decision_id="d1", metric="click", value=1, event_id="e")
    two = FeedbackEvent(decision_id="d2", metric="click", value=1, event_id="e", item_id="7", position=2)
    assert client.feedback(one) == "accepted"
    assert client.feedback_batch([one, two]) == ["duplicate", "accepted"]
    assert stand_in.events["d1"] == {"decision_id": "d1", "metric": "click", "value": 1, "event_id": "e"}
    client.close()


def test_arms_by_key(client: Client) -> None:
    """Figures that the service does not give are None."""
    arms = client.arms("msweb")
    assert (arms["similar"].probability_best, arms["random"].probability_best) == (0.97, None)
    client.close()


def test_large_catalogue_goes_in_chunks(client: Client, stand_in: StandIn) -> None:
    """No body exceeds the limit, and every item arrives once, in order."""
    items = [CatalogueItem(item_id=str(i), features=[0.123456] * 1000) for i in range(300)]
    client.put_items(items)
    bodies = [body["items"] for _, path, body in stand_in.calls if path == "/v1/items"]
    assert [item["item_id"] for body in bodies for item in body] == [str(i) for i in range(300)]
    assert len(bodies) > 2
    assert all(len(body) < 1_048_576 for body in item_bodies(items))
    client.close()


def test_chunk_of_a_single_large_item() -> None:
    """An item larger than a chunk is sent alone (the service may refuse it); no items make no call."""
    big = CatalogueItem(item_id="big", title="x" * (MAX_BODY + 1))
    small = CatalogueItem(item_id="small")
    counts = [len(msgspec.json.decode(body)["items"]) for body in item_bodies([small, big, small])]
    assert counts == [1, 1, 1]
    assert list(item_bodies([])) == []


def test_refusal_carries_the_problem(client: Client, stand_in: StandIn) -> None:
    """What the problem document says is in the message, with its pointers."""
    fault = {"pointer": "#/k", "detail": "must be at most 500"}
    stand_in.problem = (422, {"title": "The input is not valid", "errors": [fault]})
    with pytest.raises(RequestRefused, match=r"422 The input is not valid; #/k must be at most 500"):
        client.recommend({"k": 501})
    client.close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_temporary_answers_may_be_retried(status: int, client: Client, stand_in: StandIn) -> None:
    """Overload and failures of the server are `ServiceAway`."""
    stand_in.problem = (status, {"title": "Later"})
    with pytest.raises(ServiceAway, match=f"{status} Later"):
        client.arms("msweb")
    client.close()


def test_no_service_may_be_retried() -> None:
    """A refused connection is `ServiceAway`, too."""
    client = Client("http://127.0.0.1:9", "secret")
    with pytest.raises(ServiceAway, match=r"http://127\.0\.0\.1:9/v1/items"):
        client.put_items([CatalogueItem(item_id="a")])


def test_answers_of_something_else_are_refused(client: Client, stand_in: StandIn) -> None:
    """An address where another server answers is noticed."""
    stand_in.problem = (200, {"hello": "world"})
    with pytest.raises(RequestRefused, match="not an answer of this API"):
        client.recommend({})
    client.close()
