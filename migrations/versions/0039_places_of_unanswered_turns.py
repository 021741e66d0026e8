"""An index of the turns that still know where their user was, for what forgets it

Revision ID: 0039
Revises: 0038
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0039"
down_revision: str | None = "0038"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index(
        "ix_turns_location", "turns", ["finished_at"], schema="chat", postgresql_where=sa.text("location IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_turns_location", "turns", schema="chat")
