"""A writer of places waits for the other one before it touches a row: a steward and an import cannot block each other

The counts by cell are kept by one writer at a time. The lock for that was taken after the rows of a statement were
written, so a steward who had retired a place waited for an import that came to wait for that place.

Revision ID: 0038
Revises: 0037
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0038"
down_revision: str | None = "0037"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION location.wait_for_writer() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(1819239265);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """CREATE TRIGGER wait_for_writer BEFORE INSERT OR UPDATE OR DELETE ON location.places
           FOR EACH STATEMENT EXECUTE FUNCTION location.wait_for_writer()"""
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER wait_for_writer ON location.places")
    op.execute("DROP FUNCTION location.wait_for_writer")
