"""Scheduled work: runs, schedule, daily statistics; what of a scan others may read

Revision ID: 0022
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
FACTS = """
CREATE VIEW scan.facts AS
SELECT id, user_id, status, created_at, finished_at,
       vision ->> 'model' AS seen_by,
       vision ->> 'source' AS vision_source,
       answer ->> 'source' AS answer_source,
       rule ->> 'item_id' AS item_id,
       rule ->> 'stream_id' AS stream_id,
       coalesce((rule ->> 'needs_choice')::boolean, false) AS needs_choice,
       rule ->> 'chosen' IS NOT NULL AS chosen,
       reward ->> 'code' AS reward
FROM scan.jobs
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA jobs")
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("argument", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="due"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("result", JSONB),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("sent_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.CheckConstraint("status IN ('due', 'sent', 'running', 'done', 'failed')", name=op.f("ck_runs_status")),
        schema="jobs",
    )
    op.create_index("ix_runs_created_at", "runs", ["created_at"], schema="jobs")
    unfinished = sa.text("status IN ('due', 'sent', 'running')")
    op.create_index("ix_runs_unfinished", "runs", ["created_at"], schema="jobs", postgresql_where=unfinished)
    op.create_table(
        "schedule",
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("last", TIME, nullable=False),
        schema="jobs",
    )
    op.create_table(
        "daily_stats",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("computed_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("day", "metric", "label"),
        schema="jobs",
    )
    op.execute(FACTS)
    # Rows come in the order of time: a BRIN index finds a day, and costs the insert nothing.
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"], schema="scan", postgresql_using="brin")


def downgrade() -> None:
    op.drop_index("ix_jobs_created_at", "jobs", schema="scan")
    op.execute("DROP VIEW scan.facts")
    op.execute("DROP SCHEMA jobs CASCADE")
