"""What a check found."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fault", "ok", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's result."""

    check: str
    state: Literal["ok", "warning", "fault"]  # a fault: something does not work, or what is acknowledged may be lost
    detail: str
    advice: str = ""  # what to do; empty when nothing is


def ok(check: str, detail: str) -> Finding:
    """Nothing is to be done."""
    return Finding(check=check, state="ok", detail=detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """It works, and somebody should look."""
    return Finding(check=check, state="warning", detail=detail, advice=advice)


def fault(check: str, detail: str, advice: str) -> Finding:
    """Something does not work, or will not."""
    return Finding(check=check, state="fault", detail=detail, advice=advice)
