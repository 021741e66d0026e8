"""Schema `scan`."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Table, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.db import metadata

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
    UniqueConstraint("user_id", "idempotency_key"),
    CheckConstraint("status IN ('queued', 'processing', 'completed', 'failed', 'aborted')", name="status"),
    Index("ix_jobs_user_id_created_at", "user_id", "created_at"),
    schema="scan",
)
