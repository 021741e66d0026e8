"""Settings of info-api and of the collectors."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from eco2.core.settings import AppSettings, DatabaseSettings, Duration, KnowledgeSettings, Settings


class ApiSettings(AppSettings, DatabaseSettings, KnowledgeSettings):
    pass


class CollectorSettings(Settings, DatabaseSettings, KnowledgeSettings):
    database_pool_size: int = Field(default=2, ge=1)
    naver_search_client_id: str = ""
    naver_search_client_secret: str = ""
    """Of an application at Naver that may search the news; without both Naver is not asked."""
    naver_search_url: str = "https://openapi.naver.com"
    newsdata_api_key: str = ""
    """Without it NewsData is not asked."""
    newsdata_url: str = "https://newsdata.io"
    news_feeds: dict[str, str] = Field(default_factory=dict)
    """RSS and Atom feeds as JSON, name → address. Ask the publisher of a feed before you show it."""
    news_retention: Duration = timedelta(days=180)
    news_pictures: int = Field(default=20, ge=0)
    """Pages of articles looked at for a picture in one round of a source."""
    news_jitter: Duration = timedelta(seconds=20)
    """Longest random delay of a round, so that not all installations ask a source on the minute."""
    news_emulator_url: str | None = None
    """Emulated sources of the local stack: the only address on this machine that is fetched."""

    @model_validator(mode="after")
    def _emulator_is_local(self) -> Self:
        if self.news_emulator_url and self.environment != "local":
            raise ValueError("ECO2_NEWS_EMULATOR_URL is for the environment local only")
        return self
