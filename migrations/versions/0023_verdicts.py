"""View of the users' verdicts that others may read

Revision ID: 0023
Revises: 0022
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("CREATE VIEW scan.verdicts AS SELECT verdict, model, item_id, updated_at FROM scan.feedback")


def downgrade() -> None:
    op.execute("DROP VIEW scan.verdicts")
