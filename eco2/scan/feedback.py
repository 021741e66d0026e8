"""Feedback on a result: right, or wrong with the true item. For statistics, stewards and evaluation sets.

One per job, changeable. It is stored with the answer of that time and the model that saw the photo, so that it keeps
its meaning when the job's other rows change. It is deleted with its job.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from eco2.core.errors import BadRequest, Conflict, NotFound
from eco2.knowledge import Knowledge
from eco2.scan import errors
from eco2.scan.job import Job
from eco2.scan.outputs import Json, Rule, VisionResult

Verdict = Literal["right", "wrong"]


class NothingToJudge(Conflict):
    """This scan has no result to judge; give feedback when it is completed."""

    code = "NOTHING_TO_JUDGE"


class ChoiceFirst(Conflict):
    """This scan waits for your choice; say what the photo shows at …/choice first."""

    code = "CHOICE_FIRST"


class Contradiction(BadRequest):
    """Give a minor_category only for a wrong result, and another one than that of the result."""

    code = "FEEDBACK_CONTRADICTS_ITSELF"


class NoFeedback(NotFound):
    """There is no feedback on this scan."""

    code = "FEEDBACK_NOT_FOUND"


@dataclass(frozen=True)
class Judgement:
    """`item_id`: the answered item; `actual_item_id`: the true one, if the user named it."""

    verdict: Verdict
    item_id: str
    actual_item_id: str | None
    comment: str | None
    model: str | None


@dataclass(frozen=True)
class Given:
    """Feedback as its user sees it."""

    job_id: UUID
    verdict: Verdict
    actual_item_id: str | None
    comment: str | None
    updated_at: datetime


@dataclass(frozen=True)
class Judged:
    """Feedback with data of its scan."""

    job_id: UUID
    verdict: Verdict
    item_id: str
    actual_item_id: str | None
    model: str | None
    updated_at: datetime
    image_key: str
    user_input: str | None
    vision: VisionResult | None
    rule: Rule | None


@dataclass(frozen=True)
class Wrong:
    """Feedback that calls a result wrong, without whose it is."""

    job_id: UUID
    item_id: str
    actual_item_id: str | None
    comment: str | None
    model: str | None
    updated_at: datetime


@dataclass(frozen=True)
class Disputed:
    """An item with its numbers of verdicts and of wrong ones, and the true items: `{item, times}`, most first."""

    item_id: str
    judged: int
    wrong: int
    meant: list[tuple[str, int]]


def judge(
    knowledge: Knowledge, job: Job, verdict: Verdict, minor_category: str | None, comment: str | None
) -> Judgement:
    """NothingToJudge, ChoiceFirst, Contradiction, ChoiceUnknown."""
    if job.status != "completed" or job.rule is None:
        raise NothingToJudge
    if job.rule.needs_choice:
        raise ChoiceFirst
    actual = None
    if minor_category is not None:
        actual = knowledge.resolve(minor_category)
        if actual is None:
            raise errors.ChoiceUnknown
        if verdict == "right" or actual.id == job.rule.item_id:
            raise Contradiction
    if job.rule.item_id is None:
        raise NothingToJudge
    model = job.vision.model if job.vision else None
    return Judgement(verdict, job.rule.item_id, actual.id if actual else None, comment or None, model)


def example(knowledge: Knowledge, row: Judged, *, words: bool) -> Json | None:
    """A line of the evaluation set: a photo with its true label. None where the label is not known (any more).

    `words`: with the user's words about the photo, which may be personal. The user's identity is never in it.
    """
    item = knowledge.items.get(row.item_id if row.verdict == "right" else row.actual_item_id or "")
    if item is None:
        return None
    seen = row.vision
    line = {
        "id": str(row.job_id),
        "image": row.image_key,
        "digest": seen.digest if seen else None,
        "item": item.id,
        "middle_category": item.classification.middle_category,
        "stream": item.stream,
        "verdict": row.verdict,
        "answered": row.item_id,
        "seen": seen.item_id if seen else None,
        "confidence": seen.confidence if seen else None,
        "candidates": [candidate.item_id for candidate in seen.candidates] if seen else [],
        "chosen": row.rule is not None and row.rule.chosen is not None,
        "model": row.model,
        "source": seen.source if seen else None,
        "at": row.updated_at.isoformat(timespec="seconds"),
    }
    return {**line, "user_input": row.user_input} if words else line
