"""The state of the database server, and of what the learner writes to it, for who looks after them."""

from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct

__all__ = ["LearnerState", "ServerState", "learner_state", "server_state"]

_SERVER = sa.text("""
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size_bytes,
       current_setting('max_connections')::int AS most_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active') AS active,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
           AS waiting,
       (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::double precision
        FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend')
           AS longest_transaction_s
""")

# The oldest data that an allocation in force rests on need not be a fault: without new evidence there is no new one.
_LEARNER = sa.text("""
SELECT count(*) FILTER (WHERE e.state = 'running') AS running, max(a.created_at) AS newest
FROM experiments e LEFT JOIN allocations a ON a.experiment = e.key AND a.number = e.allocation
""")


class ServerState(Struct, frozen=True, kw_only=True):
    """Of PostgreSQL.

    Attributes:
        version: of the server.
        size_bytes: of this database.
        connections: of all clients.
        most_connections: that the server allows.
        active: connections to this database that work on a statement.
        waiting: connections to this database that wait for a lock.
        longest_transaction_s: age of the oldest transaction that is open, seconds.
    """

    version: str
    size_bytes: int
    connections: int
    most_connections: int
    active: int
    waiting: int
    longest_transaction_s: float


class LearnerState(Struct, frozen=True, kw_only=True):
    """What is seen of the learner: how many experiments run, and when the last allocation was made."""

    running: int
    newest: datetime | None


def server_state(connection: sa.Connection) -> ServerState:
    """Of the server, now."""
    return ServerState(**connection.execute(_SERVER).mappings().one())


def learner_state(connection: sa.Connection) -> LearnerState:
    """Of the learner, by what it wrote."""
    return LearnerState(**connection.execute(_LEARNER).mappings().one())
