"""${message}.

Deployment: pre.

(pre: processes of the version before go on. post: it takes away what the version before does not use any more. stop: no
process of before may run. See docs/operations.md; delete this.)
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "op.execute(\"\")"}
