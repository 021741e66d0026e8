"""Accounts, the social accounts they sign in with, and what is to be told to other services; scans answered as the user
prefers; a character that no scan earned

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

UUID = postgresql.UUID(as_uuid=True)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA users")
    _accounts()
    _social_accounts()
    _outbox()
    _preferences()
    op.alter_column("ownerships", "job_id", nullable=True, schema="character")


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", UUID, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("nickname", "name", "email", "phone_number", "profile_image_url")),
        sa.Column("district", sa.Text),
        sa.Column("language", sa.Text, server_default="ko", nullable=False),
        sa.Column("preferences_version", sa.BigInteger, server_default="0", nullable=False),
        *(sa.Column(name, TIME, server_default=sa.func.now(), nullable=False) for name in ("created_at", "updated_at")),
        *(sa.Column(name, TIME) for name in ("last_login_at", "deleted_at", "purge_started_at")),
        sa.CheckConstraint("language IN ('ko', 'en')", name=op.f("ck_accounts_language")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("phone_number", name=op.f("uq_accounts_phone_number")),
        schema="users",
    )
    op.create_index(
        "ix_accounts_deleted_at",
        "accounts",
        ["deleted_at"],
        schema="users",
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )


def _social_accounts() -> None:
    op.create_table(
        "social_accounts",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_user_id", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("last_login_at", TIME),
        sa.CheckConstraint("provider IN ('google', 'kakao', 'naver')", name=op.f("ck_social_accounts_provider")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.accounts.id"],
            name=op.f("fk_social_accounts_user_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_social_accounts")),
        sa.UniqueConstraint("provider", "provider_user_id", name=op.f("uq_social_accounts_provider_provider_user_id")),
        schema="users",
    )
    op.create_index(op.f("ix_social_accounts_user_id"), "social_accounts", ["user_id"], schema="users")


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", postgresql.JSONB, nullable=False),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("due_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.accounts.id"], name=op.f("fk_outbox_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        schema="users",
    )
    op.create_index(op.f("ix_outbox_user_id"), "outbox", ["user_id"], schema="users")
    op.create_index("ix_outbox_kind_due_at", "outbox", ["kind", "due_at"], schema="users")


def _preferences() -> None:
    op.create_table(
        "preferences",
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("district", sa.Text),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preferences")),
        schema="scan",
    )
    for name in ("language", "district"):
        op.add_column("jobs", sa.Column(name, sa.Text), schema="scan")


def downgrade() -> None:
    op.execute("DELETE FROM character.ownerships WHERE job_id IS NULL")
    op.alter_column("ownerships", "job_id", nullable=False, schema="character")
    for name in ("district", "language"):
        op.drop_column("jobs", name, schema="scan")
    op.drop_table("preferences", schema="scan")
    op.execute("DROP SCHEMA users CASCADE")
