"""What the scan domain lets others read of its scans: the view `scan.facts`, one row for each.

The view is the contract: statistics read it and no table of the domain. None of its columns has what a user wrote.
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
