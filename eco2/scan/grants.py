"""Reward that a scan has earned, and its grant."""

from datetime import UTC, datetime

from eco2.contracts.grants import Grant, Photo
from eco2.contracts.identity import is_guest
from eco2.contracts.queues import REWARD_EXCHANGE, REWARD_QUEUE
from eco2.scan import stages
from eco2.scan.audience import Audience
from eco2.scan.job import Job
from eco2.scan.outputs import FinalAnswer, Reward, Rule
from eco2.scan.services import Services


def reward_of(services: Services, job: Job, rule: Rule, answered: FinalAnswer, audience: Audience) -> Reward | None:
    """None for a guest, who has no characters until the sign-in."""
    return None if is_guest(job.user_id) else stages.reward(services.knowledge, rule, answered, audience)


async def grant(services: Services, job: Job) -> None:
    """Send the reward of a job to the character domain; sending it twice grants once."""
    if job.reward is None:
        return
    message = Grant(
        job_id=job.id,
        user_id=job.user_id,
        character_code=job.reward.code,
        source="scan",
        earned_at=datetime.now(UTC),
        photo=_photo(job),
    )
    body = message.model_dump(mode="json")
    await services.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, message_id=f"grant-{job.id}")


def _photo(job: Job) -> Photo | None:
    """None for a job whose vision was stored by a version that did not tell photos apart."""
    seen = job.vision
    return Photo(digest=seen.digest, phash=seen.phash) if seen and seen.digest and seen.phash else None
