"""Points, who is on a leaderboard, and whose data was removed

Revision ID: 0020
Revises: 0010
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision: str = "0020"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

SCHEMA = "character"
TIME = sa.DateTime(timezone=True)
ID = pg.UUID(as_uuid=True)


def upgrade() -> None:
    op.create_table(
        "points",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("amount", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("character_code", sa.Text, nullable=False),
        sa.Column("earned_at", TIME, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("phash", pg.BIT(256)),
        sa.Column("bands", pg.ARRAY(sa.Integer)),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("job_id"),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_points_amount")),
        sa.CheckConstraint(
            "reason IN ('scan', 'seen_before', 'seen_today', 'daily_cap')", name=op.f("ck_points_reason")
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_points_user_id_earned_at_id",
        "points",
        ["user_id", "earned_at", "id"],
        schema=SCHEMA,
        postgresql_include=["amount", "day"],
    )
    op.create_index(
        "ix_points_bands",
        "points",
        ["bands"],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=sa.text("amount > 0"),
    )
    op.create_table(
        "leaderboard_members",
        sa.Column("user_id", ID, primary_key=True),
        sa.Column("nickname", sa.Text, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("joined_at", TIME, nullable=False, server_default=sa.func.now()),
        schema=SCHEMA,
    )
    op.create_index("ix_leaderboard_members_district", "leaderboard_members", ["district"], schema=SCHEMA)
    op.create_table(
        "purged_users",
        sa.Column("user_id", ID, primary_key=True),
        sa.Column("purged_at", TIME, nullable=False, server_default=sa.func.now()),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("purged_users", "leaderboard_members", "points"):
        op.drop_table(table, schema=SCHEMA)
