"""What can go wrong, as one tree. No web framework here: `app/api/problems.py` turns these into RFC 9457 problems.

    CroupierError
    ├── InvalidInput         422  the request's shape or values are wrong
    │   ├── MalformedInput   400  the request is not even JSON
    │   └── TargetingKeyMissing 400  nobody to evaluate a flag for
    ├── NotAuthenticated     401
    ├── NotPermitted         403
    ├── NotFound             404
    ├── Conflict             409
    ├── PreconditionFailed   412
    ├── InputTooLarge        413
    ├── TooManyRequests      429  a rate limit
    ├── Unavailable          503  the database is away
    └── ConfigurationError        settings or environment; ends a command

The first line of each docstring is the title of its problem.
"""

from typing import ClassVar, NamedTuple, Self

__all__ = [
    "ConfigurationError",
    "Conflict",
    "CroupierError",
    "Fault",
    "InputTooLarge",
    "InvalidInput",
    "MalformedInput",
    "NotAuthenticated",
    "NotFound",
    "NotPermitted",
    "PreconditionFailed",
    "TargetingKeyMissing",
    "TooManyRequests",
    "Unavailable",
]


class Fault(NamedTuple):
    """One thing wrong with an input: where (a JSON pointer in URI fragment form, as `#/arms/0/key`) and what."""

    pointer: str
    detail: str


class CroupierError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.title()
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring, without its full stop."""
        return (cls.__doc__ or cls.__name__).partition("\n")[0].rstrip(".")

    @classmethod
    def slug(cls) -> str:
        """The class's name in kebab case, the last part of a problem's `type`."""
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("-")


class InvalidInput(CroupierError):
    """The input is not valid."""

    status = 422

    def __init__(self, *faults: Fault, detail: str = "") -> None:
        self.faults = faults
        super().__init__(detail or "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """One fault at one place."""
        return cls(Fault(pointer, detail))


class MalformedInput(InvalidInput):
    """The input is not JSON."""

    status = 400


class TargetingKeyMissing(InvalidInput):
    """The context does not say who is served."""

    status = 400


class NotAuthenticated(CroupierError):
    """No valid API key was given."""

    status = 401


class NotPermitted(CroupierError):
    """The API key may not do this."""

    status = 403


class NotFound(CroupierError):
    """There is no such thing."""

    status = 404


class Conflict(CroupierError):
    """The request contradicts the present state."""

    status = 409


class PreconditionFailed(CroupierError):
    """The experiment has changed since it was read."""

    status = 412


class InputTooLarge(CroupierError):
    """The input is too large."""

    status = 413


class TooManyRequests(CroupierError):
    """There were too many requests."""

    status = 429

    def __init__(self, detail: str = "", *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class Unavailable(CroupierError):
    """The database did not answer in time."""

    status = 503

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class ConfigurationError(CroupierError):
    """Settings or environment do not allow this."""
