"""Schema `character`. The catalogue itself is data (`data/characters.yaml`), not a table."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIT, UUID

from eco2.contracts.grants import PHASH_BITS
from eco2.core.tables import metadata

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

# The ledger: one row per job, also where it gives no points. Rows are never changed; a purge of the user removes them.
points = Table(
    "points",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("amount", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("character_code", Text, nullable=False),
    Column("earned_at", DateTime(timezone=True), nullable=False),
    # Of earned_at, in Korea.
    Column("day", Date, nullable=False),
    # Of the photo; null where the grant did not tell.
    Column("digest", LargeBinary),
    Column("phash", BIT(PHASH_BITS)),
    # Keys (`eco2.character.points.bands`) of which twins of a day share at least one.
    Column("bands", ARRAY(Integer)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("job_id"),
    CheckConstraint("amount >= 0", name="amount"),
    CheckConstraint("reason IN ('scan', 'seen_before', 'seen_today', 'daily_cap')", name="reason"),
    Index("ix_points_user_id_earned_at_id", "user_id", "earned_at", "id", postgresql_include=["amount", "day"]),
    # Without fastupdate: each search would read the whole list of what is not in the index yet.
    Index(
        "ix_points_bands",
        "bands",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=text("amount > 0"),
    ),
    schema="character",
)

# Who asked to be on the leaderboard of a district, and under which name.
members = Table(
    "leaderboard_members",
    metadata,
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("nickname", Text, nullable=False),
    # The same for names that look alike (eco2.core.names); null in rows that an earlier release has written.
    Column("nickname_key", Text),
    Column("district", Text, nullable=False),
    Column("joined_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("uq_leaderboard_members_name", "district", "nickname_key", unique=True),
    Index("ix_leaderboard_members_district", "district"),
    schema="character",
)

# People whose data was removed: a grant that comes late must not bring it back.
purged = Table(
    "purged_users",
    metadata,
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("purged_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    schema="character",
)
