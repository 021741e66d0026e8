"""Settings of scan-api and scan-worker."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from eco2.core.app import AppSettings
from eco2.core.queue import CelerySettings
from eco2.core.settings import BrokerSettings, DatabaseSettings, KnowledgeSettings, StorageSettings, StreamsSettings

DEFAULT_MODELS = (
    "gpt-5.2",
    "gpt-5.2-pro",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-pro",
    "gpt-5-mini",
    "gemini-3-pro-preview",
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.0-flash",
    "gemini-2.0-flash-lite",
)


class ApiSettings(AppSettings, DatabaseSettings, StreamsSettings, BrokerSettings, StorageSettings, KnowledgeSettings):
    models: tuple[str, ...] = DEFAULT_MODELS
    """Models that a client may name; without an LLM key the embedded model answers whatever is named."""


class WorkerSettings(CelerySettings, DatabaseSettings, StreamsSettings, StorageSettings, KnowledgeSettings):
    model_dir: Path
    """Cache folder of the embedded vision model; built there on first use."""
    vision_threads: int = Field(default=2, ge=1)
    """Photos classified at once; each holds one decoded photo in memory."""
    stage_timeout: timedelta = timedelta(seconds=60)
