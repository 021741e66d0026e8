"""Replies of a paid model that a turn's next delivery does not pay again

Revision ID: 0047
Revises: 0046
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0047"
down_revision: str | None = "0046"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("paid", JSONB), schema="chat")


def downgrade() -> None:
    op.drop_column("turns", "paid", schema="chat")
