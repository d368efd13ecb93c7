"""Shadow policies: what each allocation gives them, and the arm that each decision had of them.

Deployment: pre.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE allocations ADD COLUMN shadow jsonb;

ALTER TABLE decisions ADD COLUMN shadow_arm text;
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
