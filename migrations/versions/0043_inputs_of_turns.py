"""Inputs that a client can be asked for while its answer is written

Revision ID: 0043
Revises: 0042
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision: str = "0043"
down_revision: str | None = "0042"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    column = sa.Column("inputs", ARRAY(sa.Text()), nullable=False, server_default=sa.text("'{}'"))
    op.add_column("turns", column, schema="chat")


def downgrade() -> None:
    op.drop_column("turns", "inputs", schema="chat")
