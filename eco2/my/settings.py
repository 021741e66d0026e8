"""Settings of my-api."""

from datetime import timedelta

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
    """Without it what somebody said about places is neither in the copy of their data nor removed with it."""
    grpc_chat_api: str | None = None
    """Without it the chats of somebody are neither in the copy of their data nor removed with it."""
    purge_after: Duration = timedelta(days=30)
    """Time in which a deleted account can be restored by signing in. Longer than messages live (a day), or what a
    message brings late would stay."""
    purge_interval: Duration = timedelta(minutes=1)
