"""Settings of character-api and character-worker."""

from pydantic import Field

from eco2.core.app import AppSettings
from eco2.core.settings import BrokerSettings, DatabaseSettings, KnowledgeSettings, Settings


class ApiSettings(AppSettings, DatabaseSettings, KnowledgeSettings):
    pass


class WorkerSettings(Settings, DatabaseSettings, BrokerSettings, KnowledgeSettings):
    grant_batch_size: int = Field(default=100, ge=1, le=1000)
