"""One unit's decisions: an index to find them by, and what erasing them needs.

The index is made for partitions to come; those that are there get theirs from the monitor, one a minute and without
stopping writers (app/store/indexes.py). Each statement is instant, but that on `quarantine`, which is small. Processes
of the version before go on writing.

Deployment: pre.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE decisions ADD COLUMN erased boolean;
CREATE INDEX decisions_unit ON ONLY decisions (unit, decision_id);

CREATE INDEX quarantine_decision ON quarantine (decision_id);

CREATE TABLE erased_units (
    digest bytea NOT NULL PRIMARY KEY,
    salt bytea NOT NULL,
    erased_at timestamptz NOT NULL
);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
