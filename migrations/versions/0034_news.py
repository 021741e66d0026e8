"""News, notices and how their sources do

Revision ID: 0034
Revises: 0033
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision: str = "0034"
down_revision: str | None = "0033"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA info")
    op.create_table(
        "articles",
        sa.Column("id", sa.Text(collation="C"), primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("plain_title", sa.Text, nullable=False),
        sa.Column("snippet", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_name", sa.Text, nullable=False),
        sa.Column("source_icon_url", sa.Text),
        sa.Column("thumbnail_url", sa.Text),
        sa.Column("video_url", sa.Text),
        sa.Column("category", sa.Text),
        sa.Column("keywords", sa.ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("ai_tag", sa.Text),
        sa.Column("published_at", TIMESTAMP(timezone=True, precision=3), nullable=False),
        sa.Column("ends_at", TIME),
        sa.Column("added_at", TIME, nullable=False, server_default=sa.func.now()),
        schema="info",
    )
    pictured = sa.text("thumbnail_url IS NOT NULL")
    for name, columns, where in (
        ("published_at", [], None),
        ("category", ["category"], None),
        ("source", ["source"], None),
        ("picture", [], pictured),
        ("category_picture", ["category"], pictured),
    ):
        op.create_index(
            f"ix_articles_{name}", "articles", [*columns, "published_at", "id"], schema="info", postgresql_where=where
        )
    op.create_table(
        "sources",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("tried_at", TIME, nullable=False),
        sa.Column("succeeded_at", TIME),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("not_before", TIME),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column("added", sa.Integer, nullable=False, server_default="0"),
        schema="info",
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA info CASCADE")
