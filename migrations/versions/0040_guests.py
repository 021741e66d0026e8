"""Accounts of guests: when their session ends, and as whom they have signed in

Revision ID: 0040
Revises: 0039
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0040"
down_revision: str | None = "0039"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("guest_until", sa.DateTime(timezone=True)), schema="users")
    op.add_column("accounts", sa.Column("claimed_by", sa.UUID()), schema="users")


def downgrade() -> None:
    op.drop_column("accounts", "claimed_by", schema="users")
    op.drop_column("accounts", "guest_until", schema="users")
