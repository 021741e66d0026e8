"""Sessions, revocations, login audit

Revision ID: 0010
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

UUID = postgresql.UUID(as_uuid=True)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA auth")
    _sessions()
    _revocations()
    _login_audits()


def _created_at() -> sa.Column[sa.DateTime]:
    return sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("device_id", "user_agent", "ip")),
        _created_at(),
        sa.Column("refresh_id", UUID, nullable=False),
        sa.Column("refreshed_at", TIME, nullable=False),
        sa.Column("replaced", postgresql.JSONB, nullable=False),
        sa.Column("revoked_at", TIME),
        sa.Column("revoked_for", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        schema="auth",
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], schema="auth")
    op.create_index("ix_sessions_refreshed_at", "sessions", ["refreshed_at"], schema="auth")


def _revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _created_at(),
        sa.Column("denied_at", TIME),
        sa.Column("published_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocations")),
        schema="auth",
    )
    op.create_index("ix_revocations_until", "revocations", ["until"], schema="auth")
    op.create_index("ix_revocations_user_id", "revocations", ["user_id"], schema="auth")
    op.create_index(
        "ix_revocations_pending",
        "revocations",
        ["created_at"],
        schema="auth",
        postgresql_where=sa.text("denied_at IS NULL OR published_at IS NULL"),
    )


def _login_audits() -> None:
    op.create_table(
        "login_audits",
        sa.Column("id", UUID, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("user_id", UUID),
        sa.Column("session_id", UUID),
        *(sa.Column(name, sa.Text) for name in ("ip", "user_agent")),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_audits")),
        schema="auth",
    )
    op.create_index("ix_login_audits_created_at", "login_audits", ["created_at"], schema="auth")
    op.create_index("ix_login_audits_user_id", "login_audits", ["user_id", "created_at"], schema="auth")


def downgrade() -> None:
    op.execute("DROP SCHEMA auth CASCADE")
