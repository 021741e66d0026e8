"""Schema `info`: articles, including notices of operators, and the state of each source."""

from sqlalchemy import ARRAY, Column, DateTime, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from eco2.core.tables import metadata

WITH_PICTURE = text("thumbnail_url IS NOT NULL")

articles = Table(
    "articles",
    metadata,
    # Digest of the canonical address: an article is stored once, whichever source brings it.
    Column("id", Text(collation="C"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("title", Text, nullable=False),
    # The title without what newspapers decorate it with, for telling near-equal ones.
    Column("plain_title", Text, nullable=False),
    Column("snippet", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_name", Text, nullable=False),
    Column("source_icon_url", Text),
    Column("thumbnail_url", Text),
    Column("video_url", Text),
    # None: a notice, which is in no category.
    Column("category", Text),
    Column("keywords", ARRAY(Text), nullable=False, server_default="{}"),
    Column("ai_tag", Text),
    # To the millisecond, which cursors carry.
    Column("published_at", TIMESTAMP(timezone=True, precision=3), nullable=False),
    # Of notices: not shown from then on.
    Column("ends_at", DateTime(timezone=True)),
    Column("added_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_articles_published_at", "published_at", "id"),
    Index("ix_articles_category", "category", "published_at", "id"),
    Index("ix_articles_source", "source", "published_at", "id"),
    Index("ix_articles_picture", "published_at", "id", postgresql_where=WITH_PICTURE),
    Index("ix_articles_category_picture", "category", "published_at", "id", postgresql_where=WITH_PICTURE),
    schema="info",
)

sources = Table(
    "sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tried_at", DateTime(timezone=True), nullable=False),
    Column("succeeded_at", DateTime(timezone=True)),
    # Rounds in a row that brought nothing.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    # Not asked before then: it said so, or failed again and again.
    Column("not_before", DateTime(timezone=True)),
    # What it called its last answer, to be told when nothing is new.
    Column("etag", Text),
    Column("last_modified", Text),
    Column("added", Integer, nullable=False, server_default="0"),
    schema="info",
)
