"""Rows of open jobs whose users poll, as they were read last."""

import time
from dataclasses import dataclass
from uuid import UUID

from eco2.scan.job import Job
from eco2.scan.progress import progress_of

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An open job by its row: its language, the stage that was running, percent, and when it was read.

    `at` is of the monotonic clock (s): a clock that is set back keeps no row unread."""

    language: str | None
    stage: str
    percent: int
    at: float


class Polled:
    """Bounded: the oldest make room, and are read again."""

    def __init__(self) -> None:
        self._seen: dict[UUID, Seen] = {}

    def note(self, job: Job) -> Seen:
        self._seen.pop(job.id, None)
        if len(self._seen) >= MOST:
            del self._seen[next(iter(self._seen))]
        seen = self._seen[job.id] = Seen(job.language, *progress_of(job), time.monotonic())
        return seen

    def get(self, job_id: UUID) -> Seen | None:
        return self._seen.get(job_id)

    def forget(self, job_id: UUID) -> None:
        self._seen.pop(job_id, None)
