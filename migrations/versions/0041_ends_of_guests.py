"""An index of the guests, for their purge

Revision ID: 0041
Revises: 0040
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from eco2.core.migrations import index_online

revision: str = "0041"
down_revision: str | None = "0040"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    index_online(
        "ix_accounts_guest_until",
        "accounts",
        ["guest_until"],
        schema="users",
        postgresql_where=sa.text("guest_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_accounts_guest_until", "accounts", schema="users")
