"""Keys of uploads in the order of their bytes, as the object store lists them

Rebuilds the index of the keys, about a second for a million uploads, in which no upload ticket is given.

Revision ID: 0031
Revises: 0030
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0031"
down_revision: str | None = "0030"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute('ALTER TABLE image.uploads ALTER COLUMN key TYPE text COLLATE "C"')


def downgrade() -> None:
    op.execute('ALTER TABLE image.uploads ALTER COLUMN key TYPE text COLLATE "default"')
