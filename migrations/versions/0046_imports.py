"""Outcome of the last imports of places and of collection days

Revision ID: 0046
Revises: 0045
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0046"
down_revision: str | None = "0045"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table("imports", sa.Column("feed", sa.Text, primary_key=True), *_outcome(), schema="location")
    op.create_table(
        "imports",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        *_outcome(),
        sa.CheckConstraint("id = 1", name=op.f("ck_imports_one")),
        schema="recycling",
    )


def _outcome() -> list[sa.Column[object]]:
    return [
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("findings", postgresql.JSONB, nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    ]


def downgrade() -> None:
    op.drop_table("imports", schema="recycling")
    op.drop_table("imports", schema="location")
