"""Settings of location-api and of imports of places."""

from datetime import timedelta

from pydantic import Field

from eco2.core.settings import (
    AppSettings,
    CacheSettings,
    DatabaseSettings,
    Duration,
    KnowledgeSettings,
    OpsStorageSettings,
    Settings,
    SettingsGroup,
    TasksBrokerSettings,
)


class KakaoSettings(SettingsGroup):
    kakao_rest_api_key: str | None = None
    """Without it places come from our own data alone."""
    kakao_local_url: str = "https://dapi.kakao.com"
    kakao_local_timeout: Duration = timedelta(seconds=1.5)
    """Of one attempt; a second one is made where that may help."""
    kakao_daily_quota: int = Field(default=90_000, ge=0)
    """Calls a day (of Korea), of all processes together. Kakao's own limit is 100,000."""
    kakao_daily_quota_of_user: int = Field(default=1_000, ge=1)
    """New questions of one user, so that no user takes the day of all."""
    kakao_daily_quota_of_guests: int = Field(default=18_000, ge=0)
    """The same of all guests together: a guest is made in a moment, so each one's share alone would bound nothing."""
    kakao_cache: Duration = timedelta(minutes=10)


class ApiSettings(AppSettings, DatabaseSettings, CacheSettings, KnowledgeSettings, KakaoSettings, TasksBrokerSettings):
    place_feedback_per_day: int = Field(default=50, ge=1)
    """Reports of one user about places."""
    location_searches_per_minute: int = Field(default=240, ge=1)
    """Searches and suggestions of one user, counted by each process for itself."""


class ImportSettings(Settings, DatabaseSettings):
    """Settings of an import."""


class StoredImportSettings(ImportSettings, OpsStorageSettings):
    """Settings of an import of a file in the private bucket, as that of a Kubernetes Job."""
