"""What honest figures need: outcomes by allocation, sums of scores, first choices of sticky units.

What was counted before has no allocation, so drift-robust figures begin with each experiment's next epoch. Processes of
the version before cannot write statistics once this is done: what they write to has another key. They answer 500 to
decisions and feedback (nothing goes to the spool, since the database is there), so stop them first.

Deployment: stop.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE allocations ADD COLUMN means jsonb NOT NULL DEFAULT '{}';

ALTER TABLE decisions ADD COLUMN repeated boolean;

CREATE TABLE unit_exposures (
    experiment text NOT NULL,
    epoch integer NOT NULL,
    unit text NOT NULL,
    PRIMARY KEY (experiment, epoch, unit)
);

ALTER TABLE decision_counts
    ADD COLUMN repeated boolean NOT NULL DEFAULT false,
    ADD COLUMN chosen bigint NOT NULL DEFAULT 0,
    ADD COLUMN eligible double precision NOT NULL DEFAULT 0,
    ADD COLUMN score double precision NOT NULL DEFAULT 0,
    ADD COLUMN score_squares double precision NOT NULL DEFAULT 0,
    ADD COLUMN paired double precision NOT NULL DEFAULT 0,
    ADD COLUMN contrast double precision NOT NULL DEFAULT 0,
    ADD COLUMN contrast_squares double precision NOT NULL DEFAULT 0;
-- Which choice of a sticky unit was its first was not noted, so none of theirs is a new draw.
INSERT INTO unit_exposures (experiment, epoch, unit)
SELECT DISTINCT d.experiment, d.epoch, d.unit
FROM decisions d JOIN experiments e ON e.key = d.experiment
WHERE e.specification ->> 'assignment' = 'unit' AND (d.learnable OR d.propensity < 1);
UPDATE decisions SET repeated = true
WHERE experiment IN (SELECT key FROM experiments WHERE specification ->> 'assignment' = 'unit');
UPDATE decision_counts SET chosen = exposures, repeated = coalesce(
    (SELECT specification ->> 'assignment' = 'unit' FROM experiments WHERE key = experiment), false);
ALTER TABLE decision_counts DROP CONSTRAINT decision_counts_pkey,
    ADD PRIMARY KEY (experiment, epoch, allocation, arm, bucket, shard, repeated);

ALTER TABLE arm_statistics
    ADD COLUMN allocation integer NOT NULL DEFAULT 0,
    ADD COLUMN repeated boolean NOT NULL DEFAULT false,
    ADD COLUMN eligible double precision NOT NULL DEFAULT 0,
    ADD COLUMN score double precision NOT NULL DEFAULT 0,
    ADD COLUMN score_squares double precision NOT NULL DEFAULT 0,
    ADD COLUMN paired double precision NOT NULL DEFAULT 0,
    ADD COLUMN contrast double precision NOT NULL DEFAULT 0,
    ADD COLUMN contrast_squares double precision NOT NULL DEFAULT 0;
UPDATE arm_statistics SET repeated = true
WHERE (SELECT specification ->> 'assignment' = 'unit' FROM experiments WHERE key = experiment);
ALTER TABLE arm_statistics ALTER COLUMN allocation DROP DEFAULT;
ALTER TABLE arm_statistics DROP CONSTRAINT arm_statistics_pkey,
    ADD PRIMARY KEY (experiment, epoch, arm, metric, bucket, shard, allocation, repeated);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
