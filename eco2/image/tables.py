"""Schema `image`."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.tables import metadata

uploads = Table(
    "uploads",
    metadata,
    Column("key", Text(collation="C"), primary_key=True),  # in the order of the store's own lists
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("channel", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("etag", Text),
    Column("size", BigInteger),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("completed_at", DateTime(timezone=True)),
    Index("ix_uploads_user_id_created_at", "user_id", "created_at"),
    schema="image",
)
