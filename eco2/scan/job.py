"""A row of `scan.jobs`."""

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from eco2.core.postgres import Row
from eco2.scan import outputs
from eco2.scan.outputs import Answer, NewerForm, Reward, Rule, VisionResult

OPEN = ("queued", "processing")


@dataclass(frozen=True)
class Job:
    """A row of `scan.jobs`; `vision`, `rule`, `answer` are None until their stage is done.

    `unread`: why one of them is None although it is stored."""

    id: UUID
    user_id: UUID
    image_key: str
    user_input: str | None
    model: str | None
    status: str
    vision: VisionResult | None
    rule: Rule | None
    answer: Answer | None
    reward: Reward | None
    error: str | None
    error_code: str | None
    language: str | None
    district: str | None
    enqueued: bool
    unread: Exception | None = None

    @property
    def open(self) -> bool:
        return self.status in OPEN

    def require_outputs(self) -> None:
        """NewerForm for a completed job that only a newer release can read: it has not failed."""
        if self.status == "completed" and isinstance(self.unread, NewerForm):
            raise self.unread


COLUMNS: LiteralString = """
    jobs.id, jobs.user_id, jobs.image_key, jobs.user_input, jobs.model, jobs.status, jobs.vision, jobs.rule,
    jobs.answer, jobs.reward, jobs.error, jobs.error_code, jobs.language, jobs.district, jobs.enqueued_at IS NOT NULL"""

OUTPUTS: dict[str, type[Any]] = {"vision": VisionResult, "rule": Rule, "answer": Answer, "reward": Reward}

_FIRST_OUTPUT = list(Job.__dataclass_fields__).index("vision")


def job_of(row: Row) -> Job:
    """The job of a row that is `COLUMNS`."""
    end = _FIRST_OUTPUT + len(OUTPUTS)
    found = zip(OUTPUTS.values(), row[_FIRST_OUTPUT:end], strict=True)
    done, problems = zip(*(outputs.attempt(kind, stored) for kind, stored in found), strict=True)
    return Job(*(*row[:_FIRST_OUTPUT], *done, *row[end:], next(filter(None, problems), None)))


def job_or_none(row: Row | None) -> Job | None:
    return job_of(row) if row else None


UNFINISHED: LiteralString = (
    "(status IN ('waiting', 'queued', 'processing', 'aborted')"
    " OR (status IN ('completed', 'failed') AND announced_at IS NULL))"
)
"""Rows that the sweeper may have to look after; they have an index of their own."""
IS_OPEN: LiteralString = "status IN ('queued', 'processing')"
