"""One request over HTTP, and a few in a row."""

import json
import random
import time
from collections.abc import Mapping
from typing import Any, Final

import urllib3
from urllib3.util import Timeout

from croupier_client.errors import Away, Refused

__all__ = ["Http"]

# Another try may help: the request was too slow, there were too many, or something behind is away.
_PASSING: Final = frozenset({408, 425, 429})
_FIRST_PAUSE_S: Final = 0.02
_LEAST_S: Final = 0.005  # less time is not worth a try


class Http:
    """Requests to one service.

    Args:
        url: of the service, as http://localhost:8000.
        key: an API key.
        connections: kept open at most.
    """

    def __init__(self, url: str, key: str, *, connections: int = 16) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float, tries: int) -> Any:  # noqa: ANN401 - JSON
        """The answer to a request that may be sent again.

        Args:
            path: as /v1/recommendations.
            body: JSON.
            timeout_s: for all tries and the pauses between them.
            tries: at most.

        Raises:
            Away: no try was answered in time.
            Refused: the service will not have it.
        """
        data, end = json.dumps(body, allow_nan=False).encode(), time.monotonic() + timeout_s
        for number in range(1, tries + 1):
            try:
                # Time is kept for the tries to come: a worker that has died answers none.
                return self._once(path, data, (end - time.monotonic()) / (tries - number + 1))
            except Away as away:
                pause = max(away.retry_after_s, random.uniform(0, _FIRST_PAUSE_S * 2**number))  # noqa: S311 - jitter
                if number == tries or time.monotonic() + pause + _LEAST_S > end:
                    raise
            time.sleep(pause)
        raise Away("no time was left to ask")

    def close(self) -> None:
        """Closes connections."""
        self._pool.clear()

    def _once(self, path: str, data: bytes, timeout_s: float) -> Any:  # noqa: ANN401 - JSON
        try:
            response = self._pool.request(
                "POST",
                self._url + path,
                body=data,
                headers=self._headers,
                timeout=Timeout(total=max(timeout_s, _LEAST_S)),
                redirect=False,
            )
            answer = json.loads(response.data or b"null")
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Away(f"{self._url}{path} does not answer: {error}") from error
        if 200 <= response.status < 300:
            return answer
        problem = answer if isinstance(answer, dict) else {}
        if response.status >= 500 or response.status in _PASSING:
            after = response.headers.get("Retry-After", "0")
            wait_s = float(after) if after.isdecimal() else 0.0
            raise Away(f"{response.status}: {problem.get('detail', '')}", retry_after_s=wait_s)
        raise Refused(response.status, problem)
