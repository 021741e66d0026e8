"""Schema `llm`: settings that an operator changes while processes run."""

from sqlalchemy import CheckConstraint, Column, DateTime, Double, Table, Text, func

from eco2.core.tables import metadata

# One row at most: while it is there no paid model is called.
stops = Table(
    "stops",
    metadata,
    Column("scope", Text, primary_key=True, server_default="all"),
    Column("why", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("scope = 'all'", name="scope"),
    schema="llm",
)

prices = Table(
    "prices",
    metadata,
    Column("model", Text, primary_key=True),
    # USD per million tokens.
    Column("input", Double, nullable=False),
    Column("output", Double, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("input >= 0 AND output >= 0", name="not_negative"),
    schema="llm",
)
