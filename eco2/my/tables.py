"""Schema `users`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from eco2.core.tables import metadata


def _time(name: str, *, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=func.now() if now else None)


accounts = Table(
    "accounts",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("nickname", Text),
    Column("name", Text),
    Column("email", Text),
    Column("phone_number", Text),
    Column("profile_image_url", Text),
    Column("district", Text),
    Column("language", Text, nullable=False, server_default="ko"),
    # Counts the changes of the preferences, so that who keeps a copy can tell an old one that comes late.
    Column("preferences_version", BigInteger, nullable=False, server_default="0"),
    _time("created_at", now=True),
    _time("updated_at", now=True),
    _time("last_login_at"),
    # Deleted by its owner; signing in again restores it, until the purge begins.
    _time("deleted_at"),
    _time("purge_started_at"),
    # Of a guest: when its session ends, and the data goes.
    _time("guest_until"),
    # The user as whom the guest has signed in.
    Column("claimed_by", UUID(as_uuid=True)),
    CheckConstraint("language IN ('ko', 'en')", name="language"),
    schema="users",
)
Index("ix_accounts_guest_until", accounts.c.guest_until, postgresql_where=accounts.c.guest_until.is_not(None))
Index("ix_accounts_claimed_by", accounts.c.claimed_by, postgresql_where=accounts.c.claimed_by.is_not(None))
Index("ix_accounts_deleted_at", accounts.c.deleted_at, postgresql_where=accounts.c.deleted_at.is_not(None))

social_accounts = Table(
    "social_accounts",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    # Checked at the commit: the social account decides first whether there is an account to make.
    Column(
        "user_id",
        UUID(as_uuid=True),
        ForeignKey(accounts.c.id, deferrable=True, initially="DEFERRED"),
        nullable=False,
        index=True,
    ),
    Column("provider", Text, nullable=False),
    Column("provider_user_id", Text, nullable=False),
    Column("email", Text),
    _time("created_at", now=True),
    _time("last_login_at"),
    UniqueConstraint("provider", "provider_user_id"),
    CheckConstraint("provider IN ('google', 'kakao', 'naver')", name="provider"),
    schema="users",
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey(accounts.c.id), nullable=False, index=True),
    # Messages to other services, committed with their change (eco2/my/outbox.py).
    Column("kind", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    _time("created_at", now=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_outbox_kind_due_at", "kind", "due_at"),
    schema="users",
)
