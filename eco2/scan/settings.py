"""Settings of scan-api, scan-worker, ai-worker and scan-sweeper."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from eco2.core.settings import (
    AppSettings,
    BrokerSettings,
    CacheSettings,
    DatabaseSettings,
    Duration,
    KnowledgeSettings,
    Settings,
    SettingsGroup,
    StorageSettings,
    StreamsSettings,
    TasksBrokerSettings,
    TasksWorkerSettings,
    UploadSettings,
)
from eco2.llm.settings import CLIENT_MODELS, LlmSettings
from eco2.photos.settings import PhotoSettings
from eco2.scan.limits import Limits, Rules


class SweeperSettings(SettingsGroup):
    sweep_interval: Duration = timedelta(seconds=10)
    sweep_grace: Duration = timedelta(seconds=30)
    """Time that a step between two commits may take before the process that took it counts as dead."""
    sweep_lost: Duration = timedelta(seconds=60)
    """Time for which a job that is in no queue may show no sign of work before its message counts as lost and is sent
    again. Workers give a sign every 15 s."""
    sweep_deadline: Duration = timedelta(hours=2)
    """Age at which a job that has not ended is given up, one that could not be queued included."""
    sweep_retention: Duration = timedelta(days=1)
    """Age at which a job that never ran is deleted: its photo or its message never came."""


class ApiSettings(
    AppSettings,
    DatabaseSettings,
    StreamsSettings,
    BrokerSettings,
    TasksBrokerSettings,
    StorageSettings,
    KnowledgeSettings,
    UploadSettings,
):
    models: tuple[str, ...] = CLIENT_MODELS
    """Models that a client may name; without an LLM key the embedded model always answers."""
    max_backlog: int = Field(default=2000, ge=1)
    """Messages waiting for a worker past which new jobs are refused (429)."""
    longest_wait: Duration = timedelta(seconds=60)
    """Longest wait of a job where the provider of the paid model limits the rate; past it new ones are refused."""
    when_budget_spent: Literal["embedded", "refuse"] = "embedded"
    """With the day's budget spent the embedded model answers; or new jobs are refused until it is midnight (UTC)."""
    open_jobs: int = Field(default=10, ge=1)
    """Scans of one user that may be waiting or in work at once."""
    backlog_share: float = Field(default=0.1, gt=0, le=1)
    """Part of `max_backlog` that one user's open scans may be, where that is less than `open_jobs`."""
    scans_per_day: int = Field(default=1000, ge=1)
    """New scans of one user in a day of Korea."""
    guest_share: float = Field(default=0.2, gt=0, le=1)
    """Part of the backlog that open scans of all guests together may be."""

    @property
    def rules(self) -> Rules:
        return Rules(
            self.max_backlog,
            self.longest_wait.total_seconds(),
            self.when_budget_spent == "embedded",
            self.guest_share,
        )

    @property
    def limits(self) -> Limits:
        share = max(1, int(self.backlog_share * self.max_backlog))
        return Limits(min(self.open_jobs, share), self.scans_per_day)


class SweeperWorkerSettings(
    Settings,
    BrokerSettings,
    TasksBrokerSettings,
    DatabaseSettings,
    StreamsSettings,
    StorageSettings,
    KnowledgeSettings,
    SweeperSettings,
):
    """Settings of scan-sweeper."""


class WorkerSettings(
    Settings,
    BrokerSettings,
    DatabaseSettings,
    StreamsSettings,
    CacheSettings,
    StorageSettings,
    KnowledgeSettings,
    LlmSettings,
    PhotoSettings,
):
    worker_concurrency: int = Field(default=256, ge=1)
    """Messages in work at once; also the prefetch of each queue, unless the paid model's provider limits the rate."""
    database_pool_size: int = Field(default=16, ge=1)
    stage_by_stage: bool = False
    """Every stage waits in its own queue for a worker. By default the stages of a scan follow one another at once, and
    a queue gets what failed in its stage or has to wait for the paid model's provider (docs/adr/0045)."""
    model_dir: Path
    """Cache folder of the embedded vision model; built there on first use."""
    vision_threads: int = Field(default=2, ge=1)
    """Photos that wait for the embedded model at once, which sees one at a time."""
    stage_timeout: Duration = timedelta(seconds=60)
    cascade: Literal["off", "skip", "downgrade"] = "off"
    """With a key: `skip` the paid look where the embedded model is sure and the user asked nothing and named no model,
    or `downgrade` it to `cascade_model`; in all other photos the paid model is told the embedded one's guesses."""
    cascade_confidence: float = Field(default=0.9, ge=0, le=1)
    """Least confidence of the embedded model."""
    cascade_model: str = "gpt-5-mini"


class VisionSettings(KnowledgeSettings):
    """Of `eco2 vision classify`."""

    model_dir: Path | None = None
    """Default: that of the local stack."""


class AiWorkerSettings(WorkerSettings, TasksWorkerSettings):
    worker_concurrency: int = Field(default=2, ge=1)
