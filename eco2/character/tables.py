"""Schema `character`. The catalogue itself is data (`data/characters.yaml`), not a table."""

from sqlalchemy import Column, DateTime, Index, PrimaryKeyConstraint, Table, Text, func
from sqlalchemy.dialects.postgresql import UUID

from eco2.core.db import metadata

ownerships = Table(
    "ownerships",
    metadata,
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("character_code", Text, nullable=False),
    Column("source", Text, nullable=False),
    # None: no scan earned it.
    Column("job_id", UUID(as_uuid=True)),
    Column("acquired_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("user_id", "character_code"),
    Index("ix_ownerships_user_id_acquired_at", "user_id", "acquired_at"),
    schema="character",
)
