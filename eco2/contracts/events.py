"""Job events: what producers write, the router forwards and the gateway sends (shared Redis keys included).

Fields keep one type on every path. `seq` counts the events of a job from 1 without a gap. Text that is still being
written is no event: its parts go to the clients at once, and add up to one key.
"""

from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

SHARDS = 4
JOB_TTL_SECONDS = 3600
"""Time for which the log of a job stays in the streams Redis after its last event, on a server that never evicts."""
ENDED_TTL_SECONDS = 900
"""The same after the terminal event: time to reconnect. Later clients are answered from the job's row."""


TEXT_BYTES = 24_000
"""Longest text that is streamed; of a longer one the rest comes with the terminal event."""
FIRST_TOKEN = 1001
"""`seq` of the first part of a text."""
TOKEN, TOKEN_RECOVERY = "token", "token_recovery"
"""`event:` of a part of the text, and of the text so far: for who connects late, or again."""


class Service(StrEnum):
    """Services whose jobs have events; the name is that of the route."""

    SCAN = "scan"
    CHAT = "chat"


class Stage(StrEnum):
    """Every stage that any producer may emit; the name is the `event:` of the SSE frame."""

    QUEUED = "queued"
    VISION = "vision"
    RULE = "rule"
    ANSWER = "answer"
    REWARD = "reward"
    INTENT = "intent"
    WASTE = "waste_rag"
    CHARACTER = "character"
    LOCATION = "location"
    BULK_WASTE = "bulk_waste"
    WEATHER = "weather"
    COLLECTION_POINT = "collection_point"
    RECYCLABLE_PRICE = "recyclable_price"
    WEB_SEARCH = "web_search"
    IMAGE_GENERATION = "image_generation"
    GENERAL = "general"
    AGGREGATE = "aggregator"
    SUMMARIZE = "summarize"
    NEEDS_INPUT = "needs_input"
    DONE = "done"


STAGES: dict[Service, frozenset[Stage]] = {
    Service.SCAN: frozenset({Stage.QUEUED, Stage.VISION, Stage.RULE, Stage.ANSWER, Stage.REWARD, Stage.DONE}),
    Service.CHAT: frozenset(Stage) - {Stage.RULE, Stage.REWARD},
}
"""Stages that a service may emit."""


class Status(StrEnum):
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class Draft:
    """An event before the bus gives it its `seq`, `ts` and trace."""

    stage: Stage
    status: Status
    progress: int
    result: dict[str, object] | None = None
    message: str | None = None
    part: str | None = None
    """Name of one of several that a stage has, such as the item that is looked up."""

    @property
    def key(self) -> str:
        """Identity within a job: emitting the same key again changes nothing."""
        return f"{self.stage}:{self.status}" if self.part is None else f"{self.stage}:{self.status}:{self.part}"

    @property
    def terminal(self) -> bool:
        """`done` ends the job with any status; no event follows it."""
        return self.stage is Stage.DONE


def shard_key(job_id: str) -> str:
    """Redis stream that carries the events of this job."""
    return f"events:{crc32(job_id.encode()) % SHARDS}"


def shard_keys() -> list[str]:
    return [f"events:{shard}" for shard in range(SHARDS)]


def job_key(job_id: str) -> str:
    """Hash of the producer side: `owner`, `seq`, `terminal`, one field per emitted key, and of the text `round`, `part`
    and `said`."""
    return f"job:{job_id}"


def log_key(job_id: str) -> str:
    """Sorted set seq → frame JSON, written by the router, replayed by the gateway. The highest seq is the state of the
    job: the newest event, and the terminal one once it is there."""
    return f"job:{job_id}:log"


def text_key(job_id: str) -> str:
    """Text that is being written, until the terminal event."""
    return f"job:{job_id}:text"


def channel(job_id: str) -> str:
    """Pub/Sub channel of the live copies: a message is one frame or several, a line each."""
    return f"job:{job_id}:live"
