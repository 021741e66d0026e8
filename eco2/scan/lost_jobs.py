"""Detection of jobs whose message was lost, among those that wait.

Both are silent. A queue says how many messages it holds, and hands them out in the order in which they came: of the
silent jobs of its stage it holds the newest ones, and the others are not in it. A job that is not in its queue, and of
which no worker says that it works on it (`in_work`), is lost. It takes two looks to tell, some seconds apart, since a
job may just have been taken from its queue.

Should the count be wrong for once, a job is sent again that was not lost. That does no harm: a worker finds its outputs
stored, or shares the call of the first.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from eco2.contracts.queues import Q_AI, SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.core.postgres import Database
from eco2.messaging.broker import Publisher
from eco2.scan import sweeper_store
from eco2.scan.sweeper_store import Silent

Depths = Callable[[], Awaitable[Mapping[str, int]]]
"""Queue → messages that wait in it. BrokerDown."""

BETWEEN_SECONDS = 8.0
"""More than a worker takes to mark a job that it has taken from its queue; less than the time between two rounds."""
SETTLED = timedelta(seconds=5)


async def depths(publisher: Publisher, tasks_publisher: Publisher) -> Mapping[str, int]:
    """A job of the waste flow waits in `q.ai` before it is handed to its first stage."""
    found = {queue: await publisher.depth(queue) for queue in (SCAN_VISION, SCAN_RULE, SCAN_ANSWER)}
    found[SCAN_VISION] += await tasks_publisher.depth(Q_AI)
    return found


class LostJobs:
    """Remembers from one look to the next which jobs were missing."""

    def __init__(self, depths: Depths, between: float = BETWEEN_SECONDS) -> None:
        self._depths = depths
        self._between = between
        self._missing: dict[UUID, tuple[datetime, float]] = {}

    async def find(self, db: Database, longest: timedelta) -> list[Silent]:
        """Jobs that were missing at an earlier look as well, and have been silent for longer than `longest`."""
        suspicious = max(longest - timedelta(seconds=self._between), timedelta(0))
        silent = await sweeper_store.silent(db, suspicious, longest)
        missing = await self._out_of_queues(db, silent, longest) if silent else []
        now, before, self._missing, lost = time.monotonic(), self._missing, {}, []
        for job in missing:
            since, first = before.get(job.id, (None, now))
            known = since == job.since
            self._missing[job.id] = (job.since, first if known else now)
            if job.long and known and now - first >= self._between:
                lost.append(job)
        return lost

    async def _out_of_queues(self, db: Database, silent: list[Silent], longest: timedelta) -> list[Silent]:
        """Of each queue the oldest silent jobs that it cannot hold."""
        depths = await self._depths()
        counts = await sweeper_store.in_queues(db, longest, min(SETTLED, longest))
        found = []
        for queue in depths:
            out = counts.get(queue, 0) - depths[queue]
            found += [job for job in silent if job.queue == queue][: max(0, out)]
        return found
