"""Index to find jobs that still show a photo

Building the index reads the table once, about two seconds for a million scans, in which no scan is taken.

Revision ID: 0028
Revises: 0027
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_jobs_image_key", "jobs", ["image_key"], schema="scan")


def downgrade() -> None:
    op.drop_index("ix_jobs_image_key", "jobs", schema="scan")
