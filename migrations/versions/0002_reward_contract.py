"""The reward contract: confirmed exposures, late outcomes, what feedback is judged by, quarantine.

Deployment: pre.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE decisions ADD COLUMN awaits_confirmation boolean;

ALTER TABLE outcomes
    ADD COLUMN first_at timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN previous_first_at timestamptz;

ALTER TABLE arm_statistics ADD COLUMN corrected bigint NOT NULL DEFAULT 0;

CREATE TABLE contracts (
    experiment text NOT NULL REFERENCES experiments (key),
    epoch integer NOT NULL,
    contract jsonb NOT NULL,
    PRIMARY KEY (experiment, epoch)
);
-- What earlier epochs agreed on was not kept; feedback went by the present, so that is their contract.
INSERT INTO contracts (experiment, epoch, contract)
SELECT key, generate_series(1, epoch), jsonb_build_object(
    'reward', specification -> 'reward',
    'metrics', coalesce((SELECT jsonb_object_agg(m ->> 'key', m -> 'aggregation')
                         FROM jsonb_array_elements(specification -> 'metrics') m), '{}')
        || jsonb_build_object(specification -> 'reward' ->> 'metric', specification -> 'reward' -> 'aggregation'))
FROM experiments;

CREATE TABLE exposures (
    decision_id uuid PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    bucket timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (decision_id);

DO $$
DECLARE
    day record;
BEGIN
    FOR day IN
        SELECT replace(c.relname, 'decisions_', 'exposures_') AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
        FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'decisions'::regclass
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF exposures %s', day.name, day.bounds);
    END LOOP;
END $$;

CREATE TABLE unmatched_exposures (
    decision_id uuid PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    retry_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX unmatched_exposures_retry_at ON unmatched_exposures (retry_at);

CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL,
    kind text NOT NULL,
    experiment text,
    epoch integer,
    arm text,
    decision_id uuid,
    reason text NOT NULL,
    detail text NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'open',
    times integer NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX quarantine_fingerprint ON quarantine (fingerprint);
CREATE INDEX quarantine_experiment ON quarantine (experiment, id);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
