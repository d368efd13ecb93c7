"""The PostgreSQL that comes along: life cycle (server), files (places), programs and their user (programs)."""

from app.embedded.programs import EmbeddedPostgresError
from app.embedded.server import EmbeddedPostgres, Status

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "Status"]
