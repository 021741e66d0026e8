"""The sweeper looks after every scan that is not announced, completed ones included, and those that never came

Building the index reads the table once, about a second for a million scans, in which no scan is taken.

Revision ID: 0025
Revises: 0024
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BEFORE = "status IN ('queued', 'processing') OR (status = 'failed' AND announced_at IS NULL)"
AFTER = """status IN ('waiting', 'queued', 'processing', 'aborted')
    OR (status IN ('completed', 'failed') AND announced_at IS NULL)"""


def upgrade() -> None:
    _index(AFTER)


def downgrade() -> None:
    _index(BEFORE)


def _index(rows: str) -> None:
    op.drop_index("ix_jobs_unfinished", "jobs", schema="scan")
    op.create_index("ix_jobs_unfinished", "jobs", ["created_at"], schema="scan", postgresql_where=sa.text(rows))
