"""An index of the guests that were claimed, for the purge of their users

Revision ID: 0042
Revises: 0041
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from eco2.core.migrations import index_online

revision: str = "0042"
down_revision: str | None = "0041"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    index_online(
        "ix_accounts_claimed_by",
        "accounts",
        ["claimed_by"],
        schema="users",
        postgresql_where=sa.text("claimed_by IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_accounts_claimed_by", "accounts", schema="users")
