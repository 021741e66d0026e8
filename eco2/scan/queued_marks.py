"""Jobs whose first message the broker has confirmed, noted in their rows a moment later: many in one statement.

Nobody waits for a note, and a job's first output makes one as well. A process that dies before it has written its notes
leaves rows that look as if they had never been queued: the sweeper sends them again, which changes nothing.
"""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

from psycopg import Error

from eco2.core.postgres import Database
from eco2.scan import store

log = logging.getLogger(__name__)

SECONDS = 0.25
"""Far less than the sweeper's grace."""


class QueuedMarks:
    def __init__(self) -> None:
        self._at: dict[UUID, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def add(self, db: Database, job_id: UUID) -> None:
        self._at[job_id] = datetime.now(UTC)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(db))

    def __contains__(self, job_id: UUID) -> bool:
        """Whether there is a note that is still to be written."""
        return job_id in self._at

    async def _write(self, db: Database) -> None:
        while self._at:
            await asyncio.sleep(SECONDS)
            await self.write(db)

    async def write(self, db: Database) -> None:
        """Write the notes now. Those that could not be written are kept."""
        notes = dict(self._at)
        try:
            await store.enqueued(db, notes)
        except Error as error:
            log.warning("%d jobs could not be noted as queued: %r", len(notes), error)
            return
        for job_id in notes:
            self._at.pop(job_id, None)

    async def close(self, db: Database) -> None:
        if self._writing is not None:
            self._writing.cancel()
        if self._at:
            await self.write(db)
