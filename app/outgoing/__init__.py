"""HTTP requests that others make this service send: only to where it may, within a deadline, without redirects.

The URL of a model server or a webhook comes from whoever may change experiments or alerts. What they reach must not be
more than what the operators of this service want to be reached through it (server-side request forgery).
"""

from app.outgoing.connection import Connection, connect, post
from app.outgoing.guard import Guard, Refused, guard_of
from app.outgoing.urls import fault_of

__all__ = ["Connection", "Guard", "Refused", "connect", "fault_of", "guard_of", "post"]
