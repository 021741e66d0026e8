"""Jobs that this process works on, marked in their rows while they take long.

A job in work is in no queue: without a mark it would look like one whose message was lost. Most scans are done
before their first mark is due, and cost none.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg import Error

from eco2.core.postgres import Database
from eco2.scan import state_store

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
FIRST_SECONDS = 5.0
MARK_SECONDS = 15.0
PAUSE_SECONDS = 10.0
"""Longer than any pause after which a failed stage is tried again."""


@dataclass
class _Entry:
    since: float
    marked: float | None = None
    at_once: int = 0
    failed: float = 0.0


class InWork:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: dict[UUID, _Entry] = {}

    @contextmanager
    def on(self, job_id: UUID) -> Iterator[None]:
        """Count the job as in work; after an error for PAUSE_SECONDS more, since it is tried again."""
        entry = self._jobs.setdefault(job_id, _Entry(self._clock()))
        entry.at_once += 1
        failed = True
        try:
            yield
            failed = False
        finally:
            entry.at_once -= 1
            entry.failed = self._clock()
            if not entry.at_once and not failed:
                self._jobs.pop(job_id, None)

    def due(self) -> Sequence[UUID]:
        """Jobs whose mark is to be written now."""
        now = self._clock()
        self._jobs = {
            job_id: entry for job_id, entry in self._jobs.items() if entry.at_once or now - entry.failed < PAUSE_SECONDS
        }
        return [
            job_id
            for job_id, entry in self._jobs.items()
            if (now - entry.since >= FIRST_SECONDS if entry.marked is None else now - entry.marked >= MARK_SECONDS)
        ]

    async def mark(self, db: Database) -> None:
        """Write the marks that are due, in one statement."""
        due = self.due()
        if not due:
            return
        try:
            await state_store.in_work(db, due)
        except Error as error:
            log.warning("%d jobs could not be marked as in work: %r", len(due), error)
            return
        for job_id in due:
            if job_id in self._jobs:
                self._jobs[job_id].marked = self._clock()

    async def run(self, db: Database) -> None:
        """Mark for as long as the process works."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.mark(db)
