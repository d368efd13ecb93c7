"""Drift: what became of each feature in each pass over a closed window.

Deployment: pre.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE drift_results (
    experiment text NOT NULL,
    window_start timestamptz NOT NULL,
    window_s integer NOT NULL,
    feature text NOT NULL,
    test text NOT NULL,
    reference_start timestamptz NOT NULL,
    reference_end timestamptz NOT NULL,
    kind text NOT NULL,
    n bigint NOT NULL,
    value double precision,
    threshold double precision,
    p double precision,
    p_adjusted double precision,
    direction text NOT NULL,
    moved text NOT NULL,
    change double precision,
    drifted boolean NOT NULL,
    histogram jsonb NOT NULL DEFAULT '{}',
    state jsonb NOT NULL DEFAULT '{}',
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment, window_start, window_s, feature, test)
);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
