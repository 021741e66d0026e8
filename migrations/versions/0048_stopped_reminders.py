"""Reminders that are stopped, and why

Revision ID: 0048
Revises: 0047
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0048"
down_revision: str | None = "0047"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    for column in (
        sa.Column("delays", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("delayed_for", sa.Date),
        sa.Column("stopped", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("reminders", column, schema="recycling")
    op.create_check_constraint(
        op.f("ck_reminders_stopped"),
        "reminders",
        "stopped IN ('', 'refused', 'delayed', 'area', 'key')",
        schema="recycling",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_reminders_stopped"), "reminders", schema="recycling")
    for name in ("stopped", "delayed_for", "delays"):
        op.drop_column("reminders", name, schema="recycling")
