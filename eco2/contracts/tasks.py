"""Tasks of the vhost `tasks`: the queue, priority and time limit of each.

A message is a Celery task message (protocol 2, JSON) with one string as its argument: of ARGUMENT_LENGTH characters at
most, printable. It is due at once and has no end: one with a countdown, an expiry or a time limit is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eco2.contracts.queues import Q_AI, Q_API, Q_BATCH, Q_SCHED

ARGUMENT_LENGTH = 1000
"""A process is given its argument on the command line, which has room for 128 kB."""


@dataclass(frozen=True)
class Task:
    """`seconds`: the longest it may take. `argument` says what its string is."""

    name: str
    queue: str
    routing_key: str
    priority: int
    seconds: float
    argument: str


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run: figures for the operator, and the runs that follow from it (task name, argument)."""

    result: Mapping[str, object] = field(default_factory=dict)
    then: Sequence[tuple[str, str]] = ()


IMAGE_ANALYZE = Task("image.analyze", Q_AI, "ai.analyze", 10, 30, "job id")
IMAGE_CLASSIFY = Task("image.classify", Q_AI, "ai.classify", 5, 120, "job id")

OAUTH_VERIFY = Task("oauth.verify", Q_API, "api.oauth", 5, 20, "verification id")

MAP_SEARCH = Task("map.search", Q_API, "api.map", 3, 20, "search id")

ANALYTICS_DAILY = Task("analytics.daily", Q_BATCH, "batch.analytics", 1, 900, "run id")
REPORT_GENERATE = Task("report.generate", Q_BATCH, "batch.report", 0, 600, "run id")

CLEANUP_CACHE = Task("cleanup.cache", Q_SCHED, "sched.cleanup", 1, 900, "run id")
CLEANUP_PHOTOS = Task("cleanup.photos", Q_SCHED, "sched.photos", 1, 3600, "run id")
CLEANUP_UPLOADS = Task("cleanup.uploads", Q_SCHED, "sched.uploads", 1, 3600, "run id")
CLEANUP_CHATS = Task("cleanup.chats", Q_SCHED, "sched.chats", 1, 3600, "run id")
NEWS_NAVER = Task("news.naver", Q_SCHED, "sched.naver", 1, 300, "run id")
NEWS_NEWSDATA = Task("news.newsdata", Q_SCHED, "sched.newsdata", 1, 300, "run id")
NEWS_FEEDS = Task("news.feeds", Q_SCHED, "sched.feeds", 1, 600, "run id")
REMINDERS_SEND = Task("reminders.send", Q_SCHED, "sched.reminders", 2, 570, "run id")
STATS_AGGREGATE = Task("stats.aggregate", Q_SCHED, "sched.stats", 2, 900, "run id")
BACKUP_DATABASE = Task("backup.database", Q_SCHED, "sched.backup", 3, 4 * 3600, "run id")

TASKS = {
    task.name: task
    for task in (
        IMAGE_ANALYZE,
        IMAGE_CLASSIFY,
        OAUTH_VERIFY,
        MAP_SEARCH,
        ANALYTICS_DAILY,
        REPORT_GENERATE,
        CLEANUP_CACHE,
        CLEANUP_PHOTOS,
        CLEANUP_UPLOADS,
        CLEANUP_CHATS,
        NEWS_NAVER,
        NEWS_NEWSDATA,
        NEWS_FEEDS,
        REMINDERS_SEND,
        STATS_AGGREGATE,
        BACKUP_DATABASE,
    )
}

ZONE = "Asia/Seoul"
SCHEDULE = {
    CLEANUP_CACHE.name: "0 * * * *",
    CLEANUP_PHOTOS.name: "20 * * * *",
    CLEANUP_UPLOADS.name: "40 * * * *",
    CLEANUP_CHATS.name: "50 * * * *",
    NEWS_NAVER.name: "1,11,21,31,41,51 * * * *",
    NEWS_NEWSDATA.name: "7,37 * * * *",
    NEWS_FEEDS.name: "4,19,34,49 * * * *",
    REMINDERS_SEND.name: "*/10 19-21 * * *",
    BACKUP_DATABASE.name: "0 2 * * *",
    STATS_AGGREGATE.name: "0 3 * * *",
}
"""Task name → cron expression, in `ZONE`."""


# Headers of a dead letter that a worker wrote itself, and of a letter that was sent again.
ERROR_HEADER = "x-eco2-error"
TRANSIENT_HEADER = "x-eco2-transient"
"""True where trying again may help."""
DIED_HEADER = "x-eco2-died-at"
"""ISO 8601."""
ROUTING_KEY_HEADER = "x-eco2-routing-key"
"""Routing key by which the message came from the exchange of its vhost."""
REPLAYS_HEADER = "x-eco2-replays"
"""Times that it was sent again."""
