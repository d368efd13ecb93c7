import msgspec
import pytest

from app.recommenders import Catalogue, Payload, Recommendation
from tests.app.recommenders.conftest import Ask, recommend


def test_answers_with_its_value(catalogue: Catalogue, ask: Ask) -> None:
    """A payload arm answers with its constant and without items, whatever is asked."""
    payload = msgspec.json.decode(b'{"kind": "payload", "value": {"columns": [3, 4]}}', type=Payload)
    assert recommend(payload, ask(), catalogue) == Recommendation(items=(), payload={"columns": [3, 4]})


@pytest.mark.parametrize("value", [False, 0, "", [], {}])
def test_false_values_are_values(value: object, catalogue: Catalogue, ask: Ask) -> None:
    """A feature flag that is off is an answer, too."""
    payload = msgspec.convert({"kind": "payload", "value": value}, Payload)
    assert recommend(payload, ask(), catalogue).payload == value


def test_without_a_value_the_payload_is_null(catalogue: Catalogue, ask: Ask) -> None:
    """An arm may be nothing but its key: then the payload is null, and the key says it all."""
    payload = msgspec.convert({"kind": "payload"}, Payload)
    assert recommend(payload, ask(), catalogue).payload is None
