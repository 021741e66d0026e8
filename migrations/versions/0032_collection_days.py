"""Collection days of districts

Revision ID: 0032
Revises: 0031
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0032"
down_revision: str | None = "0031"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA recycling")
    op.create_table(
        "areas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("area", sa.Text, nullable=False),
        sa.Column("covers", sa.Text, nullable=False),
        sa.Column("pickups", JSONB, nullable=False),
        sa.Column("no_pickup", sa.Text, nullable=False),
        sa.Column("office", sa.Text, nullable=False),
        sa.Column("tel", sa.Text, nullable=False),
        sa.Column("checked", sa.Date, nullable=False),
        sa.Column("sample", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="recycling",
    )
    op.create_index("ix_areas_district", "areas", ["district"], schema="recycling")


def downgrade() -> None:
    op.execute("DROP SCHEMA recycling CASCADE")
