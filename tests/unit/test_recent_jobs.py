"""Rows of jobs that a process keeps between their stages, and when it must read them again."""

import uuid
from dataclasses import replace

import pytest

from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE
from eco2.scan import recent_jobs
from eco2.scan.job import Job
from eco2.scan.recent_jobs import RecentJobs

JOB = Job(
    id=uuid.UUID(int=1),
    user_id=uuid.UUID(int=2),
    image_key="scan/x",
    user_input=None,
    model=None,
    status="processing",
    vision=None,
    rule=None,
    answer=None,
    reward=None,
    error=None,
    error_code=None,
    language=None,
    district=None,
    enqueued=True,
)


def test_a_job_is_known_once_and_only_for_the_stage_it_was_sent_to() -> None:
    known = RecentJobs()
    known.put(JOB, SCAN_RULE)
    assert known.take(JOB.id, SCAN_ANSWER) is None, "another process did the stage between"
    assert known.take(JOB.id, SCAN_RULE) == JOB
    assert known.take(JOB.id, SCAN_RULE) is None


def test_an_old_one_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = RecentJobs()
    known.put(JOB, SCAN_RULE)
    monkeypatch.setattr(recent_jobs, "SECONDS", 0.0)
    assert known.take(JOB.id, SCAN_RULE) is None


def test_the_oldest_make_room() -> None:
    known = RecentJobs()
    jobs = [replace(JOB, id=uuid.UUID(int=n)) for n in range(recent_jobs.MOST + 1)]
    for job in jobs:
        known.put(job, SCAN_RULE)
    assert known.take(jobs[0].id, SCAN_RULE) is None
    assert known.take(jobs[1].id, SCAN_RULE) == jobs[1]
    assert known.take(jobs[-1].id, SCAN_RULE) == jobs[-1]
