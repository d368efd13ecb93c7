"""The spine: experiments, decisions, feedback, statistics, allocations, catalogue, keys, audit.

Deployment: pre.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE experiments (
    key text PRIMARY KEY,
    specification jsonb NOT NULL,
    state text NOT NULL,
    version integer NOT NULL,
    epoch integer NOT NULL,
    allocation integer NOT NULL,
    salt bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE arms (
    experiment text NOT NULL REFERENCES experiments (key),
    key text NOT NULL,
    position integer NOT NULL,
    version integer NOT NULL,
    since_epoch integer NOT NULL,
    state text NOT NULL,
    specification jsonb NOT NULL,
    PRIMARY KEY (experiment, key)
);

CREATE TABLE allocations (
    experiment text NOT NULL REFERENCES experiments (key),
    number integer NOT NULL,
    version integer NOT NULL,
    epoch integer NOT NULL,
    reason text NOT NULL,
    probabilities jsonb NOT NULL,
    posterior jsonb NOT NULL,
    evidence jsonb NOT NULL,
    data_as_of timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment, number)
);

CREATE TABLE decisions (
    decision_id uuid PRIMARY KEY,
    experiment text NOT NULL,
    epoch integer NOT NULL,
    allocation integer NOT NULL,
    arm text NOT NULL,
    served_arm text,
    unit text NOT NULL,
    propensity double precision NOT NULL,
    reason text NOT NULL,
    learnable boolean NOT NULL,
    bucket timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    context jsonb NOT NULL,
    items text[] NOT NULL,
    scores double precision[] NOT NULL,
    payload jsonb,
    latency_ms double precision NOT NULL
) PARTITION BY RANGE (decision_id);

CREATE TABLE feedback (
    decision_id uuid NOT NULL,
    metric text NOT NULL,
    event_id text NOT NULL,
    value double precision NOT NULL,
    item_id text,
    position integer,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (decision_id, metric, event_id)
) PARTITION BY RANGE (decision_id);

CREATE TABLE outcomes (
    decision_id uuid NOT NULL,
    metric text NOT NULL,
    aggregation text NOT NULL,
    value double precision NOT NULL,
    previous double precision,
    occurred_at timestamptz NOT NULL,
    events integer NOT NULL DEFAULT 0,
    PRIMARY KEY (decision_id, metric)
) PARTITION BY RANGE (decision_id);

CREATE TABLE decision_counts (
    experiment text NOT NULL,
    epoch integer NOT NULL,
    allocation integer NOT NULL,
    arm text NOT NULL,
    bucket timestamptz NOT NULL,
    shard smallint NOT NULL,
    decisions bigint NOT NULL DEFAULT 0,
    exposures bigint NOT NULL DEFAULT 0,
    fallbacks bigint NOT NULL DEFAULT 0,
    expected double precision NOT NULL DEFAULT 0,
    variance double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (experiment, epoch, allocation, arm, bucket, shard)
);

CREATE TABLE arm_statistics (
    experiment text NOT NULL,
    epoch integer NOT NULL,
    arm text NOT NULL,
    metric text NOT NULL,
    bucket timestamptz NOT NULL,
    shard smallint NOT NULL,
    n bigint NOT NULL DEFAULT 0,
    sum double precision NOT NULL DEFAULT 0,
    sum_of_squares double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (experiment, epoch, arm, metric, bucket, shard)
);

CREATE TABLE item_rewards (
    experiment text NOT NULL,
    metric text NOT NULL,
    item_id text NOT NULL,
    bucket timestamptz NOT NULL,
    shard smallint NOT NULL,
    rewards double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (experiment, metric, item_id, bucket, shard)
);

CREATE TABLE unmatched_feedback (
    decision_id uuid NOT NULL,
    metric text NOT NULL,
    event_id text NOT NULL,
    value double precision NOT NULL,
    item_id text,
    position integer,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    retry_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    PRIMARY KEY (decision_id, metric, event_id)
);
CREATE INDEX unmatched_feedback_retry_at ON unmatched_feedback (retry_at);

CREATE TABLE items (
    item_id text PRIMARY KEY,
    title text,
    category text,
    features real[],
    popularity double precision NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalogue (
    id boolean PRIMARY KEY CONSTRAINT catalogue_one_row CHECK (id),
    version bigint NOT NULL DEFAULT 0
);
INSERT INTO catalogue (id) VALUES (true);

CREATE TABLE api_keys (
    prefix text PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
