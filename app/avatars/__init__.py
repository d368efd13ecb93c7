"""Avatars: units with fixed properties whose lists are asked for on a schedule, and compared with expectations.

They are never counted and never learned from.
"""

from app.avatars.role import run
from app.avatars.shape import AvatarRequest, Expectation

__all__ = ["AvatarRequest", "Expectation", "run"]
