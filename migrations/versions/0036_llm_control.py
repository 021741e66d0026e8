"""Stop of paid models and their prices, changed without a restart

Revision ID: 0036
Revises: 0035
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0036"
down_revision: str | None = "0035"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA llm")
    op.create_table(
        "stops",
        sa.Column("scope", sa.Text, primary_key=True, server_default="all"),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("since", TIME, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("scope = 'all'", name="scope"),
        schema="llm",
    )
    op.create_table(
        "prices",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("input", sa.Double, nullable=False),
        sa.Column("output", sa.Double, nullable=False),
        sa.Column("changed_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("input >= 0 AND output >= 0", name="not_negative"),
        schema="llm",
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA llm CASCADE")
