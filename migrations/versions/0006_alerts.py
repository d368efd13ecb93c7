"""Alerts: rules, instances, flips, silences, and where they are delivered.

Deployment: pre.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE alert_rules (
    experiment text NOT NULL,
    key text NOT NULL,
    rule jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment, key)
);

CREATE TABLE alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL,
    experiment text NOT NULL,
    rule text NOT NULL,
    labels jsonb NOT NULL,
    severity text NOT NULL,
    summary text NOT NULL,
    state text NOT NULL,
    since timestamptz NOT NULL,
    quiet_since timestamptz,
    value double precision,
    reason text NOT NULL,
    misses integer NOT NULL DEFAULT 0,
    undecided text NOT NULL DEFAULT '',
    evaluated_at timestamptz NOT NULL,
    acknowledged_by text,
    acknowledged_at timestamptz
);
CREATE UNIQUE INDEX alerts_fingerprint ON alerts (fingerprint);
CREATE INDEX alerts_experiment ON alerts (experiment, id);

CREATE TABLE alert_flips (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert bigint NOT NULL REFERENCES alerts (id),
    before text NOT NULL,
    after text NOT NULL,
    value double precision,
    reason text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX alert_flips_alert ON alert_flips (alert, id);
CREATE INDEX alert_flips_at ON alert_flips (at);

CREATE TABLE alert_silences (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    labels jsonb NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    comment text NOT NULL,
    created_by text NOT NULL
);
CREATE INDEX alert_silences_ends_at ON alert_silences (ends_at);

CREATE TABLE alert_channels (
    key text PRIMARY KEY,
    url text NOT NULL,
    secret text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    switched_off_at timestamptz,
    fault text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE alert_deliveries (
    channel text NOT NULL REFERENCES alert_channels (key) ON DELETE CASCADE,
    flip bigint NOT NULL REFERENCES alert_flips (id) ON DELETE CASCADE,
    PRIMARY KEY (channel, flip)
);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
