"""Schema `recycling`: collection days of districts, as imported."""

from sqlalchemy import Boolean, CheckConstraint, Column, Date, DateTime, Index, Integer, SmallInteger, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from eco2.core.tables import metadata

areas = Table(
    "areas",
    metadata,
    # Digest of district, area and covers, as the source has no number.
    Column("id", Text, primary_key=True),
    # Full name, as in data/districts.yaml.
    Column("district", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("covers", Text, nullable=False),
    # A list of `eco2.knowledge.models.Pickup`.
    Column("pickups", JSONB, nullable=False),
    Column("no_pickup", Text, nullable=False),
    Column("office", Text, nullable=False),
    Column("tel", Text, nullable=False),
    # The date of the data.
    Column("checked", Date, nullable=False),
    # Made up for trying; a real row of the district removes it.
    Column("sample", Boolean, nullable=False, server_default="false"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_areas_district", "district"),
    schema="recycling",
)

# The one comparison of answers that stewards look at.
answer_changes = Table(
    "answer_changes",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    # Versions of the knowledge base.
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    # A list of `eco2.knowledge.stewards.answers.Changed`.
    Column("changes", JSONB, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="one"),
    schema="recycling",
)

# Browsers that are reminded in the evening of the next day's collections.
reminders = Table(
    "reminders",
    metadata,
    # Digest of the endpoint: a browser has one reminder.
    Column("id", Text, primary_key=True),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    # The address that the push service gave the browser, and its keys, which allow sending to it.
    Column("endpoint", Text, nullable=False),
    Column("p256dh", Text, nullable=False),
    Column("auth", Text, nullable=False),
    # Key of ours that the browser subscribed with.
    Column("public_key", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("area", Text, nullable=False),
    # Empty: everything that is collected there.
    Column("collections", ARRAY(Text), nullable=False),
    Column("lang", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # The newest day that the browser was told of.
    Column("told_for", Date),
    # Not before: held by a sender, or the push service asked for a pause.
    Column("try_after", DateTime(timezone=True)),
    # Evenings in a row on which the push service refused.
    Column("refusals", SmallInteger, nullable=False, server_default="0"),
    # Evenings in a row on which it was put off by what only it can be the reason of, and the day of the newest.
    Column("delays", SmallInteger, nullable=False, server_default="0"),
    Column("delayed_for", Date),
    # Why nothing is sent any more; empty: it is.
    Column("stopped", Text, nullable=False, server_default=""),
    CheckConstraint("lang IN ('ko', 'en')", name="lang"),
    CheckConstraint("stopped IN ('', 'refused', 'delayed', 'area', 'key')", name="stopped"),
    Index("ix_reminders_user_id", "user_id"),
    Index("ix_reminders_district_area", "district", "area", "id"),
    schema="recycling",
)

# How the last import of collection days went.
imports = Table(
    "imports",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("kept", Integer, nullable=False),
    # `outcome.reason` → lines.
    Column("findings", JSONB, nullable=False),
    # Code of the error; empty: it was done.
    Column("refused", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("id = 1", name="one"),
    schema="recycling",
)
