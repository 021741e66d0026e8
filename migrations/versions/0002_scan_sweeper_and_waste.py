"""Jobs that wait for their upload, and what the sweeper looks for

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
STATUSES = "'queued', 'processing', 'completed', 'failed', 'aborted'"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("announced_at", TIME), schema="scan")
    op.add_column("jobs", sa.Column("swept_at", TIME), schema="scan")
    op.execute("UPDATE scan.jobs SET announced_at = finished_at")
    _allow(f"'waiting', {STATUSES}")
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["created_at"],
        schema="scan",
        postgresql_where=sa.text("status IN ('queued', 'processing') OR (status = 'failed' AND announced_at IS NULL)"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_unfinished", "jobs", schema="scan")
    op.execute("DELETE FROM scan.jobs WHERE status = 'waiting'")
    _allow(STATUSES)
    op.drop_column("jobs", "swept_at", schema="scan")
    op.drop_column("jobs", "announced_at", schema="scan")


def _allow(statuses: str) -> None:
    op.drop_constraint(op.f("ck_jobs_status"), "jobs", schema="scan")
    op.create_check_constraint(op.f("ck_jobs_status"), "jobs", f"status IN ({statuses})", schema="scan")
