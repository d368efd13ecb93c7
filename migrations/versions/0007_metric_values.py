"""Figures of closed windows: quality, data quality, and what else is worked out in batches.

Deployment: pre.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE metric_values (
    experiment text NOT NULL,
    level text NOT NULL,
    window_start timestamptz NOT NULL,
    window_s integer NOT NULL,
    metric text NOT NULL,
    k integer NOT NULL,
    arm text NOT NULL,
    value double precision,
    n bigint NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment, level, window_start, window_s, metric, k, arm)
);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
