"""Reminders of collection days

Revision ID: 0045
Revises: 0044
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0045"
down_revision: str | None = "0044"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "reminders",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("p256dh", sa.Text, nullable=False),
        sa.Column("auth", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("area", sa.Text, nullable=False),
        sa.Column("collections", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("lang", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("told_for", sa.Date),
        sa.Column("try_after", sa.DateTime(timezone=True)),
        sa.Column("refusals", sa.SmallInteger, nullable=False, server_default="0"),
        sa.CheckConstraint("lang IN ('ko', 'en')", name=op.f("ck_reminders_lang")),
        schema="recycling",
    )
    op.create_index("ix_reminders_user_id", "reminders", ["user_id"], schema="recycling")
    op.create_index("ix_reminders_district_area", "reminders", ["district", "area", "id"], schema="recycling")


def downgrade() -> None:
    op.drop_table("reminders", schema="recycling")
