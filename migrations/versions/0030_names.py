"""Names on a leaderboard look different from each other; phone numbers, which nobody proves, may repeat

Revision ID: 0030
Revises: 0029
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0030"
down_revision: str | None = "0029"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.drop_constraint("uq_accounts_phone_number", "accounts", schema="users")
    op.add_column("leaderboard_members", sa.Column("nickname_key", sa.Text()), schema="character")
    op.create_index(
        "uq_leaderboard_members_name",
        "leaderboard_members",
        ["district", "nickname_key"],
        unique=True,
        schema="character",
    )


def downgrade() -> None:
    op.drop_index("uq_leaderboard_members_name", "leaderboard_members", schema="character")
    op.drop_column("leaderboard_members", "nickname_key", schema="character")
    op.execute(
        """UPDATE users.accounts a SET phone_number = NULL
           WHERE EXISTS (SELECT 1 FROM users.accounts b WHERE b.phone_number = a.phone_number AND b.id < a.id)"""
    )
    op.create_unique_constraint("uq_accounts_phone_number", "accounts", ["phone_number"], schema="users")
