"""Settings of scheduler, batch-worker, its tasks, and the commands of the operator."""

from datetime import timedelta

from pydantic import Field

from eco2.core.settings import (
    BrokerSettings,
    CacheSettings,
    DatabaseSettings,
    Duration,
    OpsStorageSettings,
    Settings,
    SettingsGroup,
    TasksBrokerSettings,
    TasksWorkerSettings,
)


class BackupSettings(DatabaseSettings, OpsStorageSettings):
    backup_recipient: str
    """Public age key (`age1…`) that backups are encrypted for; its identity stays with the operator."""
    backup_keep_daily: int = Field(default=7, ge=1)
    backup_keep_weekly: int = Field(default=4, ge=0)
    backup_keep_monthly: int = Field(default=6, ge=0)
    backup_template: str = "template1"
    """Template of the scratch database that a backup is proven in; it has the extensions that the tables need."""


class SchedulerSettings(Settings, DatabaseSettings, BrokerSettings, TasksBrokerSettings):
    database_pool_size: int = Field(default=3, ge=2)
    replay_interval: Duration = timedelta(seconds=30)
    """Pause between two looks through the dead letters for those that are due again."""


class WorkerSettings(TasksWorkerSettings, DatabaseSettings):
    worker_concurrency: int = Field(default=2, ge=1)
    """Tasks at once, each in a process of its own; also the prefetch of each queue."""
    database_pool_size: int = Field(default=1, ge=1)


class TaskSettings(Settings, DatabaseSettings, TasksBrokerSettings):
    """Settings with which the process of one task keeps its run; the task itself has settings of its own."""

    traceparent: str = ""
    """Trace of the message."""
    replays: int = 0
    """Times that the message was sent again from the dead letters."""


class StatsSettings(DatabaseSettings, CacheSettings):
    pass


class ReportSettings(DatabaseSettings, OpsStorageSettings):
    pass


class DeadLetterSettings(SettingsGroup):
    broker_url: str
    tasks_broker_url: str
    chat_broker_url: str
