"""Settings of my-api."""

from datetime import timedelta

from pydantic import Field

from eco2.core.settings import (
    AppSettings,
    BrokerSettings,
    CookieSettings,
    DatabaseSettings,
    Duration,
    KnowledgeSettings,
)


class Settings(AppSettings, CookieSettings, DatabaseSettings, BrokerSettings, KnowledgeSettings):
    grpc_scan_api: str
    grpc_image_api: str
    grpc_character_api: str
    grpc_auth_api: str | None = None
    """`host:port`. Without it nothing ends the sessions of a deleted account: they run out."""
    grpc_location_api: str | None = None
    """Without it users' reports about places are neither exported nor removed."""
    grpc_chat_api: str | None = None
    """Without it chats are neither exported nor removed."""
    grpc_recycling_api: str | None = None
    """Without it reminders are neither exported nor removed."""
    purge_after: Duration = timedelta(days=30)
    """Time in which a deleted account can be restored by signing in. Longer than messages live (a day), or what a
    message brings late would stay."""
    purge_interval: Duration = timedelta(minutes=1)
    exports_per_minute: int = Field(default=5, ge=1)
    """Copies of all their data that one user gets in any minute."""
    changes_per_minute: int = Field(default=30, ge=1)
    """Changes of profile and preferences that one user makes in any minute."""
