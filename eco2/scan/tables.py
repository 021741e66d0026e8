"""Schema `scan`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.tables import metadata
from eco2.scan.job import UNFINISHED

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("idempotency_key", Text),
    Column("image_key", Text, nullable=False),
    Column("user_input", Text),
    Column("model", Text),
    # The user's preferences when the job came; None where there was none.
    Column("language", Text),
    Column("district", Text),
    Column("status", Text, nullable=False),
    # What each stage found, stored before its message is acknowledged; a stage whose column is set is never run again.
    Column("vision", JSONB(none_as_null=True)),
    Column("rule", JSONB(none_as_null=True)),
    Column("answer", JSONB(none_as_null=True)),
    Column("reward", JSONB(none_as_null=True)),
    # Why a failed job failed, in the language of its user, and the code of it.
    Column("error", Text),
    Column("error_code", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Set when the broker has confirmed the first message: a row without it was never handed over.
    Column("enqueued_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # Set when the last event is out and the reward granted.
    Column("announced_at", DateTime(timezone=True)),
    # When the newest output was stored, and the job went on to the queue of its next stage.
    Column("moved_at", DateTime(timezone=True)),
    # When a worker last said that it works on the stage; most stages are over before it would.
    Column("marked_at", DateTime(timezone=True)),
    # When the sweeper last sent the job's message again.
    Column("swept_at", DateTime(timezone=True)),
    # Values of the documents that histories and statistics filter by, for millions of rows.
    Column("seen_by", Text, Computed("vision ->> 'model'", persisted=True)),
    Column("vision_source", Text, Computed("vision ->> 'source'", persisted=True)),
    Column("answer_source", Text, Computed("answer ->> 'source'", persisted=True)),
    Column("item_id", Text, Computed("rule ->> 'item_id'", persisted=True)),
    Column("stream_id", Text, Computed("rule ->> 'stream_id'", persisted=True)),
    Column("needs_choice", Boolean, Computed("coalesce((rule ->> 'needs_choice')::boolean, false)", persisted=True)),
    Column("chosen", Boolean, Computed("(rule ->> 'chosen') IS NOT NULL", persisted=True)),
    Column("character_code", Text, Computed("reward ->> 'code'", persisted=True)),
    UniqueConstraint("user_id", "idempotency_key"),
    CheckConstraint("status IN ('waiting', 'queued', 'processing', 'completed', 'failed', 'aborted')", name="status"),
    Index("ix_jobs_user_id_created_at", "user_id", "created_at"),
    Index("ix_jobs_unfinished", "created_at", postgresql_where=text(UNFINISHED)),
    Index("ix_jobs_image_key", "image_key"),  # whether a photo is still shown
    Index("ix_jobs_created_at", "created_at", postgresql_using="brin"),  # the statistics of one day
    schema="scan",
)

feedback = Table(
    "feedback",
    metadata,
    Column("job_id", UUID(as_uuid=True), ForeignKey(jobs.c.id, ondelete="CASCADE"), nullable=False),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("verdict", Text, nullable=False),
    # Ids of the answered item, and of the true one if the user named it.
    Column("item_id", Text, nullable=False),
    Column("actual_item_id", Text),
    Column("comment", Text),
    # Who looked at the photo.
    Column("model", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("job_id", "user_id"),
    CheckConstraint("verdict IN ('right', 'wrong')", name="verdict"),
    Index("ix_feedback_updated_at", "updated_at"),
    schema="scan",
)

preferences = Table(
    "preferences",
    metadata,
    # A copy of what my-api keeps, so that a job needs no call to know it.
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("language", Text, nullable=False),
    Column("district", Text),
    schema="scan",
)

usage = Table(
    "usage",
    metadata,
    # How many scans of a user came on the newest day (of Korea) that had any.
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("day", Date, nullable=False),
    Column("scans", Integer, nullable=False),
    schema="scan",
)
