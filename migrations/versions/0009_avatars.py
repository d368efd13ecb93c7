"""Avatars, and looks at their lists.

Deployment: pre.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE avatars (
    experiment text NOT NULL REFERENCES experiments (key),
    key text NOT NULL,
    definition jsonb NOT NULL,
    since timestamptz NOT NULL,
    asked_at timestamptz,
    looked_at timestamptz,
    PRIMARY KEY (experiment, key)
);

CREATE TABLE avatar_looks (
    experiment text NOT NULL,
    avatar text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    arm text NOT NULL,
    at timestamptz NOT NULL,
    items text[] NOT NULL,
    payload jsonb,
    latency_ms double precision NOT NULL,
    failure text,
    overlap double precision,
    came text[],
    went text[],
    fault text,
    faults integer NOT NULL,
    PRIMARY KEY (experiment, avatar, id),
    FOREIGN KEY (experiment, avatar) REFERENCES avatars (experiment, key) ON DELETE CASCADE
);
CREATE INDEX avatar_looks_arm ON avatar_looks (experiment, avatar, arm, id);
CREATE INDEX avatar_looks_at ON avatar_looks (experiment, at);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
