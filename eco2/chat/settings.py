"""Settings of chat-api, of chat-worker, and of the cleanup of chats."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from eco2.chat.turn_store import Limits
from eco2.core.settings import (
    AppSettings,
    CacheSettings,
    ChatBrokerSettings,
    DatabaseSettings,
    Duration,
    KnowledgeSettings,
    Settings,
    SettingsGroup,
    StorageSettings,
    StreamsSettings,
)
from eco2.llm.settings import CLIENT_MODELS, LlmSettings

CHAT_MODELS = tuple(name for name in CLIENT_MODELS if "pro" not in name.split("-"))
"""Without the dearest ones: chatting with them one user could spend the budget of everybody in an hour."""


class RetentionSettings(SettingsGroup):
    chat_retention: Duration = timedelta(days=1)
    """Time for which a deleted chat is kept, unseen, before it is removed for good with its photos."""


class ScanAddress(SettingsGroup):
    grpc_scan_api: str | None = None
    """`host:port` that tells about the scan that a chat goes on from; without it no chat begins with one."""


class KmaSettings(SettingsGroup):
    kma_service_key: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    """Key of data.go.kr (decoded) for the KMA's village forecast; without it the agent says where weather is told."""
    kma_url: str = "https://apis.data.go.kr/1360000/VilageFcstInfoService_2.0"
    kma_source: str = "기상청 단기예보"
    """Name of the source, as answers tell it."""
    kma_timeout: Duration = timedelta(seconds=4)
    """Of one attempt; a second one is made."""
    kma_daily_quota: int = Field(default=9_000, ge=0)
    """Calls a day (of Korea), of all processes together. A new key of data.go.kr has 10,000."""


class ApiSettings(AppSettings, DatabaseSettings, StorageSettings, StreamsSettings, ChatBrokerSettings, ScanAddress):
    chats_per_day: int = Field(default=200, ge=1)
    """New chats of one user in a day of Korea."""
    messages_per_day: int = Field(default=1000, ge=1)
    """Messages of one user in a day of Korea, those that are tried again included."""
    open_turns: int = Field(default=5, ge=1)
    """Answers that one user may wait for at once, one in each chat."""
    turn_deadline: Duration = timedelta(minutes=4)
    """Age at which a message without an answer is given up; more than `turn_timeout` and an outage of a minute."""
    models: tuple[str, ...] = CHAT_MODELS
    """Models that a client may name; without an LLM key the rules answer whatever is named."""
    grpc_image_api: str
    """`host:port` that checks and publishes photos."""

    @property
    def limits(self) -> Limits:
        return Limits(self.open_turns, self.messages_per_day)


class WorkerSettings(
    Settings,
    DatabaseSettings,
    StorageSettings,
    StreamsSettings,
    CacheSettings,
    ChatBrokerSettings,
    KnowledgeSettings,
    LlmSettings,
    ScanAddress,
    KmaSettings,
):
    worker_concurrency: int = Field(default=320, ge=1)
    """Turns in work at once; also the prefetch of the queue. Nearly all of them wait for a model."""
    llm_concurrency: int = Field(default=320, ge=1)
    """Calls at once per provider and process: no turn in work waits for another one's."""
    turn_timeout: Duration = timedelta(minutes=3)
    """Longest time for an answer."""
    input_timeout: Duration = timedelta(seconds=60)
    """Longest wait for what a user is asked for in the middle of an answer; then it goes on without."""
    routing_timeout: Duration = timedelta(seconds=3)
    """Longest wait for a paid model to tell the intents of a message; then the words alone tell them. 0: it is not
    asked."""
    grpc_location_api: str | None = None
    """`host:port` that knows places; without it the agent looks for none."""
    grpc_scan_worker: str | None = None
    """`host:port` that looks at photos; without it the agent says that it cannot."""
    llm_search_model: str = ""
    """Model that searches the web (`web_search_options`), such as `gpt-5-search-api`; without it, or without a provider
    that has it, the agent says that it cannot. The message goes to it and nothing else."""
    llm_image_model: str = ""
    """Model that draws (`/v1/images/generations`, parameters of `gpt-image-*`), such as `gpt-image-1`; without it,
    without a provider that has it or without `grpc_image_api`, the agent says that it cannot."""
    grpc_image_api: str | None = None
    """`host:port` that keeps what was drawn."""
    llm_moderation_model: str = ""
    """Model of a provider's `/v1/moderations`, such as `omni-moderation-latest`, that looks at each message first: one
    that it flags fails with `MESSAGE_REFUSED`. The message goes to it and nothing else. Without it, nobody looks."""
    moderation_timeout: Duration = timedelta(seconds=2)
    """After it a message is answered as if nobody looked, and so are those of the next half minute."""
    bulk_fees: Path | None = None
    """CSV file with fees of bulky waste (data/samples/README.md); without it, or while there is no such file, the agent
    says where they are told."""
    recyclable_prices: Path | None = None
    """The same with prices of recyclables."""


class CleanupSettings(DatabaseSettings, StorageSettings, RetentionSettings):
    """Settings of `cleanup.chats`."""
