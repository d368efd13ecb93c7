"""The running service against its own document: schemathesis sends what fits it and what does not, over all routes."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app import create_app
from app.api.openapi import document
from app.services import Services
from app.settings import Settings
from tests.acceptance.talking import decide, reward
from tests.running import ADMIN_KEY, Api, Service, running_service

EXAMPLES = int(os.environ.get("CROUPIER_CONTRACT_EXAMPLES", "4"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = document(create_app(Services.build(Settings(), "postgresql://nobody@nowhere/nothing")))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = sorted((method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods)
EXPERIMENT: dict[str, Any] = {
    "arms": [
        {"key": "a", "recommender": {"kind": "static", "items": ["i1", "i2"]}},
        {"key": "b", "recommender": {"kind": "payload", "value": {"x": [1]}}},
    ],
    "policy": {"kind": "thompson_sampling", "warm_up": 0},
    "metrics": [{"key": "revenue", "level": "business", "aggregation": "sum"}],
    "shadow": {"policy": {"kind": "ucb"}},
    "reward": {"missing": "explicit"},
}


@pytest.fixture(scope="module")
def described(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in which there is something of everything."""
    with running_service(new_database(), tmp_path_factory.mktemp("described")) as running:
        yield running


@pytest.fixture(scope="module")
def known(described: Service) -> Mapping[str, str]:
    """Names of things that are there, by the name of the parameter that takes them."""
    api = described.api()
    api.put("/v1/experiments/known", EXPERIMENT).ok()
    ids = [decide(api, "known", f"u{i}")["decision_id"] for i in range(20)]
    for i, decision_id in enumerate(ids):
        reward(api, decision_id, i % 2)
        reward(api, decision_id, i, metric="revenue")
    assert api.post("/v1/feedback", {"decision_id": ids[0], "value": 1, "metric": "unknown"}).status == 422
    api.put("/v1/items", {"items": [{"item_id": "i1", "title": "t", "features": [1, 2]}]}).ok()
    api.put("/v1/experiments/known/avatars/eve", {"unit": "eve"}).ok()
    api.put("/v1/alert-channels/hook", {"url": "http://127.0.0.1:9/", "secret": "s" * 16}).ok()
    api.post("/v1/silences", {"labels": {"rule": "x"}, "ends_at": "2999-01-01T00:00:00Z"}).ok()
    entry = api.get("/v1/quarantine").ok()["entries"][0]["id"]
    return {"key": "known", "arm": "a", "avatar": "eve", "unit": "u1", "item_id": "i1", "decision_id": ids[0],
            "entry_id": entry, "silence_id": "1"}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_answered_is_what_the_document_says(
    method: str, path: str, described: Service, known: Mapping[str, str]
) -> None:
    """Status, content type and shape of each answer, to good and to bad requests; and never a server error."""
    operation = SCHEMA[path][method]
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        _check(operation.as_strategy(generation_mode=mode), described, known)


def _check(cases: st.SearchStrategy[Case[Any]], service: Service, known: Mapping[str, str]) -> None:
    @hypothesis.seed(20261124)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=cases, there=st.integers(0, 3))
    def check(case: Case[Any], there: int) -> None:
        if there:  # mostly about something that is there
            case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        case.call_and_validate(
            base_url=service.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, checks=CHECKS, timeout=30
        )

    with suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong about a request without parameters
        check()


def test_the_document_is_answered_to_everybody(described: Service) -> None:
    """Without a key, and the same each time."""
    api = Api(described.url, None)
    assert api.get("/openapi.json").ok() == DOCUMENT
    assert api.get("/openapi.json").ok() == DOCUMENT
    api.close()
