"""What can go wrong.

CroupierClientError
├── Away     the service does not answer now; asking again later may help
└── Refused  the service refused the request; asking again will not help
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["Away", "CroupierClientError", "Refused"]


class CroupierClientError(Exception):
    """Something went wrong."""


class Away(CroupierClientError):
    """The service does not answer now.

    Args:
        detail: what happened.
        retry_after_s: how long it asks to be left alone.
    """

    def __init__(self, detail: str, *, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class Refused(CroupierClientError):
    """The service refused the request.

    Args:
        status: of HTTP.
        problem: the body (RFC 9457), which has `detail` and, for bad input, `errors`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status}: {problem.get('detail', 'no detail')}")
