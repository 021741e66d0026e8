"""A scan's row says when it went on to its next stage, and when a worker last said that it works on it

Revision ID: 0029
Revises: 0028
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    for name in ("moved_at", "marked_at"):
        op.add_column("jobs", sa.Column(name, sa.DateTime(timezone=True)), schema="scan")


def downgrade() -> None:
    for name in ("marked_at", "moved_at"):
        op.drop_column("jobs", name, schema="scan")
