"""Scan data that others may read: the view `scan.facts`, one row for each scan, and `scan.verdicts`, what users
said last of the results.

The views are the contract: statistics read them and no table of the domain. None of their columns has what a user
wrote.
"""

from sqlalchemy import Boolean, DateTime, Text, column, table
from sqlalchemy.dialects.postgresql import UUID

FACTS = table(
    "facts",
    column("id", UUID(as_uuid=True)),
    column("user_id", UUID(as_uuid=True)),
    column("status", Text),
    column("created_at", DateTime(timezone=True)),
    column("finished_at", DateTime(timezone=True)),
    column("seen_by", Text),  # name of the model, None until it has looked
    column("vision_source", Text),  # exact, near, shared: remembered; model: looked at; fallback, uncached
    column("answer_source", Text),
    column("item_id", Text),
    column("stream_id", Text),
    column("needs_choice", Boolean),  # waits for the user's choice
    column("chosen", Boolean),  # the user chose
    column("reward", Text),  # code of the character, None without one
    schema="scan",
)

VERDICTS = table(
    "verdicts",
    column("verdict", Text),  # right, wrong: what a user said last of a result
    column("model", Text),
    column("item_id", Text),  # what the result said
    column("updated_at", DateTime(timezone=True)),
    schema="scan",
)
