"""Feedback of users about results

Revision ID: 0021
Revises: 0020
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
ID = pg.UUID(as_uuid=True)


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("job_id", ID, sa.ForeignKey("scan.jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("actual_item_id", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("job_id", "user_id"),
        sa.CheckConstraint("verdict IN ('right', 'wrong')", name=op.f("ck_feedback_verdict")),
        schema="scan",
    )
    op.create_index("ix_feedback_updated_at", "feedback", ["updated_at"], schema="scan")


def downgrade() -> None:
    op.drop_table("feedback", schema="scan")
