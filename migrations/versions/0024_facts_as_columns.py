"""Facts that statistics read of a scan are columns of its row: its documents need not be unpacked for them

A generated column is written once, with the document that it comes from. Adding them rewrites the table, some 30 s for
a million scans, in which no scan is taken.

Revision ID: 0024
Revises: 0023
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

COLUMNS = {
    "seen_by": ("text", "vision ->> 'model'"),
    "vision_source": ("text", "vision ->> 'source'"),
    "answer_source": ("text", "answer ->> 'source'"),
    "item_id": ("text", "rule ->> 'item_id'"),
    "stream_id": ("text", "rule ->> 'stream_id'"),
    "needs_choice": ("boolean", "coalesce((rule ->> 'needs_choice')::boolean, false)"),
    "chosen": ("boolean", "(rule ->> 'chosen') IS NOT NULL"),
    "character_code": ("text", "reward ->> 'code'"),
}
FACTS = """
CREATE VIEW scan.facts AS
SELECT id, user_id, status, created_at, finished_at, seen_by, vision_source, answer_source, item_id, stream_id,
       needs_choice, chosen, character_code AS reward
FROM scan.jobs
"""
FACTS_BEFORE = """
CREATE VIEW scan.facts AS
SELECT id, user_id, status, created_at, finished_at,
       vision ->> 'model' AS seen_by,
       vision ->> 'source' AS vision_source,
       answer ->> 'source' AS answer_source,
       rule ->> 'item_id' AS item_id,
       rule ->> 'stream_id' AS stream_id,
       coalesce((rule ->> 'needs_choice')::boolean, false) AS needs_choice,
       rule ->> 'chosen' IS NOT NULL AS chosen,
       reward ->> 'code' AS reward
FROM scan.jobs
"""


def upgrade() -> None:
    op.execute("DROP VIEW scan.facts")
    # In one statement: the table is rewritten once.
    added = (
        f"ADD COLUMN {name} {kind} GENERATED ALWAYS AS ({value}) STORED" for name, (kind, value) in COLUMNS.items()
    )
    op.execute(sa.text(f"ALTER TABLE scan.jobs {', '.join(added)}"))
    op.execute(FACTS)


def downgrade() -> None:
    op.execute("DROP VIEW scan.facts")
    op.execute(sa.text(f"ALTER TABLE scan.jobs {', '.join(f'DROP COLUMN {name}' for name in COLUMNS)}"))
    op.execute(FACTS_BEFORE)
