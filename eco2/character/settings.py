"""Settings of character-api and character-worker."""

from pydantic import Field

from eco2.core.settings import AppSettings, BrokerSettings, DatabaseSettings, KnowledgeSettings, Settings, SettingsGroup


class PointsSettings(SettingsGroup):
    points_per_scan: int = Field(default=10, ge=1, le=1000)
    points_daily_cap: int = Field(default=100, ge=1, le=30_000)
    """The most that one person can earn in a day (of Korea)."""


class ApiSettings(AppSettings, DatabaseSettings, KnowledgeSettings, PointsSettings):
    leaderboard_min_members: int = Field(default=5, ge=2)
    """A district with fewer people on its leaderboard shows none: in a small group a nickname is no cover."""


class WorkerSettings(Settings, DatabaseSettings, BrokerSettings, KnowledgeSettings, PointsSettings):
    grant_batch_size: int = Field(default=100, ge=1, le=1000)
