"""Settings of recycling-api."""

from eco2.core.settings import AppSettings, KnowledgeSettings, ServerUrl, SettingsGroup
from eco2.llm.settings import LlmSettings


class SpendingSettings(SettingsGroup):
    redis_cache_url: ServerUrl | None = None
    """Holds the day's spending of the paid model; without it none is asked."""


class ApiSettings(AppSettings, KnowledgeSettings, LlmSettings, SpendingSettings):
    pass
