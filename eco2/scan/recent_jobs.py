"""Jobs that this process has sent to their next stage, as stored: if it gets them itself, it need not read them."""

import time
from uuid import UUID

from eco2.scan.job import Job

MOST = 1000
SECONDS = 10.0
"""Later another process may have taken the job further, and sent it here again: then the row has outputs to spare."""


class RecentJobs:
    """Bounded: when several processes share the queues most entries are never asked for, and the oldest make room."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[UUID, str], tuple[float, Job]] = {}

    def put(self, job: Job, queue: str) -> None:
        if len(self._jobs) >= MOST:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[job.id, queue] = time.monotonic(), job

    def take(self, job_id: UUID, queue: str) -> Job | None:
        """The job as it went into this queue, once; None when it must be read."""
        at, job = self._jobs.pop((job_id, queue), (0.0, None))
        return job if time.monotonic() - at < SECONDS else None
