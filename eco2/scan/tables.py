"""Schema `scan`."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Table, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.db import metadata
from eco2.scan.store import UNFINISHED

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("idempotency_key", Text),
    Column("image_key", Text, nullable=False),
    Column("user_input", Text),
    Column("model", Text),
    Column("status", Text, nullable=False),
    # What each stage found, stored before its message is acknowledged; a stage whose column is set is never run again.
    Column("vision", JSONB(none_as_null=True)),
    Column("rule", JSONB(none_as_null=True)),
    Column("answer", JSONB(none_as_null=True)),
    Column("reward", JSONB(none_as_null=True)),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Set when the broker has confirmed the first message: a row without it was never handed over.
    Column("enqueued_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # Set when the last event is out, or is sure to come because a message of the job is not acknowledged yet.
    Column("announced_at", DateTime(timezone=True)),
    # When the sweeper last sent the job's message again.
    Column("swept_at", DateTime(timezone=True)),
    UniqueConstraint("user_id", "idempotency_key"),
    CheckConstraint("status IN ('waiting', 'queued', 'processing', 'completed', 'failed', 'aborted')", name="status"),
    Index("ix_jobs_user_id_created_at", "user_id", "created_at"),
    Index("ix_jobs_unfinished", "created_at", postgresql_where=text(UNFINISHED)),
    Index("ix_jobs_created_at", "created_at", postgresql_using="brin"),  # the statistics of one day
    schema="scan",
)
