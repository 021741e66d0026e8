"""Tables of location-api, for the comparison with the migrations; its statements are written out in `store.py`."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from eco2.core.tables import metadata

SCHEMA = "location"
TIME = DateTime(timezone=True)
_ACTIVE = text("retired_at IS NULL")


class Geography(UserDefinedType[Any]):
    """PostGIS' geography, which SQLAlchemy does not know."""

    cache_ok = True

    def __init__(self, shape: str = "Point", srid: str = "4326") -> None:
        self.shape, self.srid = shape, srid

    def get_col_spec(self, **_: Any) -> str:
        return f"geography({self.shape},{self.srid})"


class Point(UserDefinedType[Any]):
    """A point of a plane."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "point"


ischema_names["geography"] = Geography
ischema_names["postgis.geography"] = Geography
ischema_names["point"] = Point

feeds = Table(
    "feeds",
    metadata,
    Column("id", SmallInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("data_date", Date),
    Column("imported_at", TIME, nullable=False),
    Index("uq_feeds_name", "name", unique=True),
    schema=SCHEMA,
)

places = Table(
    "places",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("feed_id", SmallInteger, ForeignKey(feeds.c.id), nullable=False),
    Column("source_key", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text(collation="C"), nullable=False),
    Column("letters", Text, nullable=False),
    Column("initials", Text(collation="C"), nullable=False),
    Column("store_category", Text, nullable=False),
    Column("pickup_categories", ARRAY(Text), nullable=False),
    Column("streams", ARRAY(Text), nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("region", Text, nullable=False),
    Column("road_address", Text),
    Column("lot_address", Text),
    Column("detail", Text),
    Column("phone", Text),
    Column("place_url", Text),
    Column("kakao_place_id", Text),
    Column("collection_items", Text),
    Column("introduction", Text),
    Column("manager", Text),
    Column("hours", JSONB),
    Column("residents_only", Boolean, nullable=False),
    Column("data_date", Date),
    Column("extra", JSONB),
    Column("geog", Geography()),
    Column("plane", Point(), Computed("… (migration 0035)", persisted=True)),
    Column("bits", BigInteger, Computed("location.bits(tags)", persisted=True)),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
    Column("retired_at", TIME),
    Column("retired_by", Text),
    CheckConstraint("source IN ('keco', 'zerowaste', 'kakao')", name="source"),
    Index("uq_places_feed_id_source_key", "feed_id", "source_key", unique=True),
    Index(
        "ix_places_plane",
        "plane",
        postgresql_using="gist",
        postgresql_include=["id", "bits"],
        postgresql_where=text("retired_at IS NULL AND plane IS NOT NULL"),
    ),
    Index("ix_places_tags", "tags", postgresql_using="gin", postgresql_where=_ACTIVE),
    Index(
        "ix_places_letters",
        "letters",
        postgresql_using="gin",
        postgresql_ops={"letters": "gin_trgm_ops"},
        postgresql_where=_ACTIVE,
    ),
    Index("ix_places_name_key", "name_key", postgresql_where=_ACTIVE),
    Index("ix_places_initials", "initials", postgresql_where=_ACTIVE),
    schema=SCHEMA,
)

# How the last import of every feed went; one that was refused has no feed, or leaves it as it was.
imports = Table(
    "imports",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("kept", Integer, nullable=False),
    # `outcome.reason` → rows.
    Column("findings", JSONB, nullable=False),
    # Code of the error; empty: it was done.
    Column("refused", Text, nullable=False),
    Column("at", TIME, nullable=False),
    schema=SCHEMA,
)

clusters = Table(
    "clusters",
    metadata,
    Column("level", SmallInteger, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("x", Integer, primary_key=True),
    Column("y", Integer, primary_key=True),
    Column("places", Integer, nullable=False),
    Column("sum_lat", Double, nullable=False),
    Column("sum_lon", Double, nullable=False),
    schema=SCHEMA,
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("place_id", BigInteger, ForeignKey(places.c.id, ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("comment", Text),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    CheckConstraint("kind IN ('gone', 'moved', 'wrong_hours', 'wrong_items', 'other')", name="kind"),
    Index("uq_feedback_place_id_user_id_kind", "place_id", "user_id", "kind", unique=True),
    Index("ix_feedback_user_id", "user_id", "created_at"),
    Index("ix_feedback_created_at", "created_at"),
    schema=SCHEMA,
)
