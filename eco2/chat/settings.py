"""Settings of chat-api and of what removes chats."""

from datetime import timedelta

from pydantic import Field

from eco2.core.settings import (
    AppSettings,
    DatabaseSettings,
    Duration,
    SettingsGroup,
    StorageSettings,
)


class RetentionSettings(SettingsGroup):
    chat_retention: Duration = timedelta(days=1)
    """Time for which a deleted chat is kept, unseen, before it is removed for good with its photos."""


class ApiSettings(AppSettings, DatabaseSettings, StorageSettings):
    chats_per_day: int = Field(default=200, ge=1)
    """New chats of one user in a day of Korea."""
    grpc_scan_api: str | None = None
    """`host:port` that tells whose scan a chat goes on from; without it no chat begins with one."""


class CleanupSettings(DatabaseSettings, StorageSettings, RetentionSettings):
    """Settings of `cleanup.chats`."""
