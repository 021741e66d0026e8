"""Events of a turn: its beginning, and the last one, with the answer or the reason for its failure."""

import logging
from datetime import UTC, datetime
from uuid import UUID

from redis.exceptions import RedisError

from eco2.chat import turn_store
from eco2.chat.turn_store import Exchange, Turn
from eco2.contracts.events import Draft, Stage, Status
from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.messaging.events import EventBus

log = logging.getLogger(__name__)

STOPPED = "답변을 멈췄어요."
LATE_CODE, LATE = "ANSWER_LATE", "답변이 너무 오래 걸려 멈췄어요. 다시 시도해 주세요."


def beginning() -> tuple[Draft, Draft]:
    return Draft(Stage.QUEUED, Status.STARTED, 0), Draft(Stage.QUEUED, Status.COMPLETED, 0)


def ending(storage: Storage, found: Exchange) -> Draft:
    """The last event of a turn that is over."""
    turn = found.turn
    if turn.status == "failed":
        return Draft(Stage.DONE, Status.FAILED, 100, message=turn.error or "")
    persistence = {
        "conversation_id": turn.chat_id,
        "user_id": turn.user_id,
        # Ids of the messages: clients keep them as such.
        "user_message": turn.message_id,
        "user_message_created_at": found.asked_at,
        "user_image_url": storage.public_url(found.image_key) if found.image_key else None,
        "assistant_message": turn.answer_id,
        "assistant_image_url": storage.public_url(found.answer_image_key) if found.answer_image_key else None,
        "assistant_message_created_at": found.answered_at,
        "intent": found.intent,
        "metadata": found.metadata,
    }
    result: dict[str, object] = {
        "intent": found.intent,
        "answer": found.answer or "",
        "eval": None,
        "persistence": persistence,
    }
    return Draft(Stage.DONE, Status.COMPLETED, 100, result=result)


async def announce(db: Database, storage: Storage, bus: EventBus, job_id: UUID) -> None:
    """Tell the end of a turn, then note that it was told: a process that dies in between leaves it to the keeper.

    RedisError, OSError."""
    found = await turn_store.exchanges(db, [job_id])
    if not found or found[0].turn.open:
        return
    turn = found[0].turn
    await bus.emit(str(job_id), *beginning(), ending(storage, found[0]), owner=str(turn.user_id))
    await turn_store.announced(db, {job_id: datetime.now(UTC)})


async def try_to_announce(db: Database, storage: Storage, bus: EventBus, turn: Turn) -> None:
    """The same; where the events are away the keeper does it when they are back."""
    try:
        await announce(db, storage, bus, turn.id)
    except (RedisError, OSError) as error:
        log.warning("the end of a turn is announced later: %r", error, extra={"job_id": str(turn.id)})
