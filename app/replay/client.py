"""A client of Croupier's HTTP API: one pool of connections, one small function per call.

Errors come in two kinds: `ServiceAway`, which a retry may cure, and `RequestRefused`, which it will not.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import urllib3
from urllib3.util import Timeout

from app.errors import CroupierError
from app.items import ItemRequest
from app.recommenders import CatalogueItem, Item

__all__ = ["ArmReport", "Client", "Decision", "FeedbackEvent", "RequestRefused", "ServiceAway"]

_T = TypeVar("_T")

MAX_BODY = 900_000  # bytes; the service takes 1 MiB
MAX_EVENTS = 5000


class ServiceAway(CroupierError):
    """The service does not answer now; trying again later may help."""

    def __init__(self, detail: str, *, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class RequestRefused(CroupierError):
    """The service refused the request; trying again will not help."""


class Decision(msgspec.Struct, frozen=True):
    """The answer to a request: an arm and its items."""

    decision_id: str
    arm: str
    propensity: float | None = None
    allocation: int | None = None
    reason: str = "policy"
    items: tuple[Item, ...] = ()
    payload: Any = None
    durability: str = "committed"


class FeedbackEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user did with a decision."""

    decision_id: str
    metric: str
    value: float
    event_id: str  # a retry carries the same one, and counts once
    item_id: str | None = None
    position: int | None = None
    occurred_at: str | None = None  # RFC 3339


class ArmReport(msgspec.Struct, frozen=True):
    """What the service believes about an arm; None where it cannot tell."""

    arm: str
    probability_best: float | None = None
    mean: float | None = None
    propensity: float | None = None


class _Arms(msgspec.Struct):
    arms: list[ArmReport]


class _Status(msgspec.Struct):
    status: str


class _Statuses(msgspec.Struct):
    results: list[_Status]


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    errors: list[dict[str, Any]] = []


class Client:
    """The API at one address; safe to share between threads.

    Args:
        url: of the service, as `http://127.0.0.1:8080`.
        key: an API key with the scopes decide, reward, read and admin.
        connections: how many are kept open: one for each thread that uses the client.
        timeout_s: how long one call may take.
    """

    def __init__(self, url: str, key: str, *, connections: int = 8, timeout_s: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            retries=False,
            timeout=Timeout(connect=min(timeout_s, 3.0), read=timeout_s),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def put_items(self, items: Iterable[CatalogueItem | ItemRequest]) -> None:
        """Load a catalogue, in as many calls as the limit on a body's size asks for."""
        for body in item_bodies(items):
            self._call("PUT", "/v1/items", body)

    def put_experiment(self, key: str, specification: Mapping[str, Any]) -> None:
        """Create or replace an experiment; the same specification twice changes nothing."""
        self._call("PUT", f"/v1/experiments/{key}", msgspec.json.encode(specification))

    def act(self, key: str, action: str) -> None:
        """Start, pause, resume or stop an experiment."""
        self._call("POST", f"/v1/experiments/{key}/{action}")

    def recommend(self, request: Mapping[str, Any]) -> Decision:
        """One decision. With a `decision_id` in the request, a retry gives the first answer."""
        return _decoded(self._call("POST", "/v1/recommendations", msgspec.json.encode(request)), Decision)

    def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[Decision]:
        """Up to 1,000 decisions, in the order of the requests.

        Raises:
            RequestRefused: also when one of the requests was refused; the others have been decided.
        """
        body = msgspec.json.encode({"requests": requests})
        results = _decoded(self._call("POST", "/v1/recommendations/batch", body), _Results).results
        return [_decision(result) for result in results]

    def feedback(self, event: FeedbackEvent) -> str:
        """Send one event; the status it was given: accepted, duplicate, unmatched or rejected."""
        return _decoded(self._call("POST", "/v1/feedback", msgspec.json.encode(event)), _Status).status

    def feedback_batch(self, events: Sequence[FeedbackEvent]) -> list[str]:
        """Send up to MAX_EVENTS events; the status of each."""
        body = msgspec.json.encode({"events": events[:MAX_EVENTS]})
        results = _decoded(self._call("POST", "/v1/feedback", body), _Statuses).results
        return [result.status for result in results]

    def arms(self, experiment: str) -> dict[str, ArmReport]:
        """What the service believes about each arm."""
        report = _decoded(self._call("GET", f"/v1/experiments/{experiment}/arms"), _Arms)
        return {arm.arm: arm for arm in report.arms}

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of a successful answer.

        Raises:
            ServiceAway: no connection, no answer in time, or an answer of 429 or from 500 on.
            RequestRefused: any other answer that is not a success.
        """
        try:
            answer = self._pool.request(method, self._url + path, body=body, redirect=False)
        except urllib3.exceptions.HTTPError as failure:
            raise ServiceAway(f"{method} {self._url}{path}: {failure}") from failure
        if answer.status < 300:
            return answer.data
        told = f"{method} {path}: {answer.status} {_problem(answer.data)}"
        if answer.status == 429 or answer.status >= 500:
            raise ServiceAway(told, retry_after_s=_seconds(answer.headers.get("Retry-After")))
        raise RequestRefused(told)


def item_bodies(items: Iterable[CatalogueItem | ItemRequest]) -> Iterable[bytes]:
    """Bodies of `PUT /v1/items`, each of at most MAX_BODY bytes (or of one item)."""
    chunk: list[bytes] = []
    size = 0
    for item in items:
        encoded = msgspec.json.encode(item)
        if chunk and size + len(encoded) > MAX_BODY:
            yield _items_body(chunk)
            chunk, size = [], 0
        chunk.append(encoded)
        size += len(encoded) + 1
    if chunk:
        yield _items_body(chunk)


def _items_body(chunk: Sequence[bytes]) -> bytes:
    return b'{"items":[' + b",".join(chunk) + b"]}"


def _decoded(body: bytes, shape: type[_T]) -> _T:
    """The body as a value of that shape; what is no such thing did not come from Croupier."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as failure:
        raise RequestRefused(f"not an answer of this API: {failure}") from failure


def _decision(result: msgspec.Raw) -> Decision:
    """One result of a batch; what is not a decision is a problem."""
    try:
        return msgspec.json.decode(result, type=Decision)
    except msgspec.ValidationError as failure:
        raise RequestRefused(f"a request of a batch: {_problem(bytes(result)) or failure}") from failure


def _problem(body: bytes) -> str:
    """What a problem document says, in one line."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
    faults = [f"{fault.get('pointer', '')} {fault.get('detail', '')}" for fault in problem.errors[:3]]
    return "; ".join(part for part in (problem.title, problem.detail, *faults) if part)


def _seconds(retry_after: str | None) -> float:
    """`Retry-After` in seconds, at most a minute; 0 when absent or a date."""
    return min(float(retry_after), 60.0) if retry_after and retry_after.isdecimal() else 0.0
