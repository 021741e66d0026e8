"""Schema `auth`: sessions. Users belong to the users domain."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.tables import metadata

ID = UUID(as_uuid=True)
TIME = DateTime(timezone=True)

sessions = Table(
    "sessions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("user_id", ID, nullable=False),
    Column("provider", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("device_id", Text),
    Column("user_agent", Text),
    Column("ip", Text),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    # Of the pair of tokens that is good now: its refresh token's id, and when it was made.
    Column("refresh_id", ID, nullable=False),
    Column("refreshed_at", TIME, nullable=False),
    # Refresh tokens that were replaced a moment ago: [[id, epoch seconds], …].
    Column("replaced", JSONB, nullable=False),
    Column("revoked_at", TIME),
    Column("revoked_for", Text),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_refreshed_at", "refreshed_at"),
    schema="auth",
)

# Users with a role.
roles = Table(
    "roles",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("role", Text, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", TIME, nullable=False, server_default=func.now()),
    CheckConstraint("role IN ('steward', 'operator')", name="role"),
    schema="auth",
)

# The denylist, and the outbox of revocations that ext-authz has not been sent yet.
revocations = Table(
    "revocations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("user_id", ID, nullable=False),
    Column("until", TIME, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    Column("denied_at", TIME),
    Column("published_at", TIME),
    Index("ix_revocations_until", "until"),
    Index("ix_revocations_user_id", "user_id"),
    Index(
        "ix_revocations_pending",
        "created_at",
        postgresql_where=text("denied_at IS NULL OR published_at IS NULL"),
    ),
    schema="auth",
)

login_audits = Table(
    "login_audits",
    metadata,
    Column("id", ID, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("user_id", ID),
    Column("session_id", ID),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    Index("ix_login_audits_created_at", "created_at"),
    Index("ix_login_audits_user_id", "user_id", "created_at"),
    schema="auth",
)
