"""Marks of jobs that a worker has in work."""

import uuid

import pytest

from eco2.scan.in_work import FIRST_SECONDS, MARK_SECONDS, PAUSE_SECONDS, InWork


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Marked:
    """A database on which marks are counted."""

    def __init__(self) -> None:
        self.ids: list[list[uuid.UUID]] = []

    async def rows(self, _sql: str, **values: list[uuid.UUID]) -> list[None]:
        self.ids.append(values["ids"])
        return []


async def test_long_work_is_marked_in_one_statement_and_again() -> None:
    clock, marked, (one, other) = Clock(), Marked(), (uuid.uuid4(), uuid.uuid4())
    in_work = InWork(clock)
    with in_work.on(one), in_work.on(other):
        await in_work.mark(marked)  # type: ignore[arg-type]
        clock.now += FIRST_SECONDS
        for _ in range(2):
            await in_work.mark(marked)  # type: ignore[arg-type]
        assert marked.ids == [[one, other]]
        clock.now += MARK_SECONDS
        await in_work.mark(marked)  # type: ignore[arg-type]
    assert marked.ids == [[one, other]] * 2
    clock.now += MARK_SECONDS
    assert in_work.due() == [], "done"


def test_a_stage_of_a_job_that_ends_while_the_next_is_in_work_changes_nothing() -> None:
    clock, job = Clock(), uuid.uuid4()
    in_work = InWork(clock)
    with in_work.on(job):
        with in_work.on(job):
            clock.now += FIRST_SECONDS
        assert in_work.due() == [job]


def test_work_that_failed_counts_until_it_is_tried_again_or_left() -> None:
    clock, job = Clock(), uuid.uuid4()
    start, in_work = clock.now + FIRST_SECONDS / 2, InWork(clock)
    for _ in range(3):
        clock.now += FIRST_SECONDS / 2
        with pytest.raises(OSError, match="away"), in_work.on(job):
            raise OSError("away")
        assert in_work.due() == ([job] if clock.now - start >= FIRST_SECONDS else [])
    clock.now += PAUSE_SECONDS
    assert in_work.due() == []
