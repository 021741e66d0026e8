"""Nothing: the step that had this number kept JSON with each place, and was taken back before any release

A database that was made meanwhile has the column `location.places.card`, which nobody reads.

Revision ID: 0047
Revises: 0046
"""

from collections.abc import Sequence

revision: str = "0047"
down_revision: str | None = "0046"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
