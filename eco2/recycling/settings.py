"""Settings of recycling-api."""

from pydantic import Field, field_validator

from eco2.core.settings import AppSettings, DatabaseSettings, KnowledgeSettings, ServerUrl, SettingsGroup
from eco2.llm.settings import LlmSettings
from eco2.recycling import push


class SpendingSettings(SettingsGroup):
    redis_cache_url: ServerUrl | None = None
    """Holds the day's spending of the paid model; without it none is asked."""


class ApiSettings(AppSettings, DatabaseSettings, KnowledgeSettings, LlmSettings, SpendingSettings):
    questions_per_minute: int = Field(default=60, ge=1)
    """Questions of one user in any minute, counted by each process for itself."""
    push_public_key: str = ""
    """The VAPID key that browsers subscribe with; without one reminders are not offered."""
    reminder_changes_per_minute: int = Field(default=20, ge=1)
    """Of one user, counted as questions are."""

    @field_validator("push_public_key")
    @classmethod
    def _is_key(cls, text: str) -> str:
        if text:
            push.check_public(text)
        return text
