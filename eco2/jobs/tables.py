"""Schema `jobs`."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from eco2.core.tables import metadata

UNFINISHED = text("status IN ('due', 'sent', 'running')")

runs = Table(
    "runs",
    metadata,
    # Names what is to be done and for when, so that the same run is never there twice.
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("argument", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="due"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("result", JSONB(none_as_null=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Set when the broker has confirmed its message.
    Column("sent_at", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("status IN ('due', 'sent', 'running', 'done', 'failed')", name="status"),
    Index("ix_runs_created_at", "created_at"),
    Index("ix_runs_unfinished", "created_at", postgresql_where=UNFINISHED),
    schema="jobs",
)

schedule = Table(
    "schedule",
    metadata,
    Column("task", Text, primary_key=True),
    # The last planned time that a run was made for; every one up to it is dealt with.
    Column("last", DateTime(timezone=True), nullable=False),
    schema="jobs",
)

daily_stats = Table(
    "daily_stats",
    metadata,
    Column("day", Date, nullable=False),
    Column("metric", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("computed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("day", "metric", "label"),
    schema="jobs",
)
