"""Job events: what producers write, the router forwards and the gateway sends (shared Redis keys included).

Fields keep one type on every path. `seq` counts the events of a job from 1 without a gap.
"""

from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

SHARDS = 4
JOB_TTL_SECONDS = 3600
"""How long the log of a job stays in the streams Redis after its last event, on a server that never evicts."""
ENDED_TTL_SECONDS = 900
"""The same after the terminal event: time to reconnect. Later clients are answered from the job's row."""


class Stage(StrEnum):
    """Every stage that any producer may emit; the name is the `event:` of the SSE frame."""

    QUEUED = "queued"
    VISION = "vision"
    RULE = "rule"
    ANSWER = "answer"
    REWARD = "reward"
    DONE = "done"


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

    @property
    def key(self) -> str:
        """Identity within a job: emitting the same key again changes nothing."""
        return f"{self.stage}:{self.status}"

    @property
    def terminal(self) -> bool:
        """`done` ends the job whatever its status; no event follows it."""
        return self.stage is Stage.DONE


def shard_key(job_id: str) -> str:
    """Redis stream that carries the events of this job."""
    return f"events:{crc32(job_id.encode()) % SHARDS}"


def shard_keys() -> list[str]:
    return [f"events:{shard}" for shard in range(SHARDS)]


def job_key(job_id: str) -> str:
    """Hash of the producer side: `owner`, `seq`, `terminal`, and one field per emitted key."""
    return f"job:{job_id}"


def log_key(job_id: str) -> str:
    """Sorted set seq → frame JSON, written by the router, replayed by the gateway. The highest seq is the state of the
    job: the newest event, and the terminal one once it is there."""
    return f"job:{job_id}:log"


def channel(job_id: str) -> str:
    """Pub/Sub channel of the live copies: a message is one frame or several, a line each."""
    return f"job:{job_id}:live"
