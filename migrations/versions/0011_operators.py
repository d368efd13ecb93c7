"""Who may use the console: operators, their sessions, and failed log-ins.

Deployment: pre.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE operators (
    name text PRIMARY KEY,
    role text NOT NULL,
    password text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);
CREATE TABLE operator_sessions (
    digest bytea PRIMARY KEY,
    operator text NOT NULL REFERENCES operators ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX operator_sessions_operator ON operator_sessions (operator);
CREATE INDEX operator_sessions_expires_at ON operator_sessions (expires_at);
CREATE TABLE log_in_failures (
    subject bytea PRIMARY KEY,
    count integer NOT NULL,
    since timestamptz NOT NULL
);
CREATE INDEX log_in_failures_since ON log_in_failures (since);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
