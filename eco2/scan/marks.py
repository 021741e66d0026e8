"""Marks on rows, written a moment later for many jobs in one statement, as no request waits for them.

A process that dies before it has written its marks leaves rows that look as if the step had not been taken. The sweeper
takes it again, which changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from psycopg import Error

from eco2.core.postgres import Database

log = logging.getLogger(__name__)

SECONDS = 0.25
"""Far less than the sweeper's grace."""

Store = Callable[[Database, Mapping[UUID, datetime]], Awaitable[None]]


class Marks:
    """Marks of one kind; `store` writes job id → time of the step. `name` names the step in the log."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store
        self._at: dict[UUID, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def add(self, db: Database, job_id: UUID) -> None:
        self._at[job_id] = datetime.now(UTC)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(db))

    def __contains__(self, job_id: UUID) -> bool:
        """Tell whether a mark of the job is still to be written."""
        return job_id in self._at

    async def _write(self, db: Database) -> None:
        while self._at:
            await asyncio.sleep(SECONDS)
            await self.write(db)

    async def write(self, db: Database) -> None:
        """Write the marks now. Those that could not be written are kept."""
        marks = dict(self._at)
        try:
            await self._store(db, marks)
        except Error as error:
            log.warning("%d jobs could not be marked as %s: %r", len(marks), self._name, error)
            return
        for job_id, at in marks.items():
            if self._at.get(job_id) == at:
                del self._at[job_id]

    async def close(self, db: Database) -> None:
        if self._writing is not None:
            self._writing.cancel()
        if self._at:
            await self.write(db)
