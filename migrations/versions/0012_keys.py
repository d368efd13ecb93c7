"""API keys: which experiments, how often, last use, rotation; and whom events that wait may be about.

Instant on tables of any size: columns that are added are null. Processes of the version before go on, and know nothing
of the new restrictions: restrict keys once none of them runs any more.

Deployment: pre.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE api_keys
    ADD COLUMN experiments text[],
    ADD COLUMN rate_per_s double precision,
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN previous_digest bytea,
    ADD COLUMN previous_until timestamptz;
ALTER TABLE unmatched_feedback ADD COLUMN permitted text[];
ALTER TABLE unmatched_exposures ADD COLUMN permitted text[];
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
