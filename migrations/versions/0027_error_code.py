"""A failed scan keeps the code of its reason beside the text

Revision ID: 0027
Revises: 0026
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("error_code", sa.Text()), schema="scan")


def downgrade() -> None:
    op.drop_column("jobs", "error_code", schema="scan")
