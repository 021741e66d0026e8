"""Messages of a user: stored with their turn in one transaction, handed to the workers, stopped, retried.

The row of a turn is its outbox message: the keeper (`eco2.chat.keeper`) sends unsent ones.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from redis.exceptions import RedisError

from eco2.chat import announcing, service, store, turn_store
from eco2.chat.service import ChatNotFound, Services
from eco2.chat.store import Json
from eco2.chat.turn_store import Answer, Limits, Refused, Said, Turn
from eco2.contracts import uploads
from eco2.contracts.queues import CHAT_EXCHANGE, CHAT_QUEUE
from eco2.core.errors import BadRequest, Conflict, NotFound, TooMany, Unavailable
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.messaging.events import EventBus

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 4000
WAIT_SECONDS = 60.0
"""Longest time that the legacy route waits for an answer."""


class MessageRequired(BadRequest):
    """The message is empty; say or ask something."""

    code = "MESSAGE_REQUIRED"


class ImageUrlRefused(BadRequest):
    """image_url must be the cdn_url that POST /images/chat gave you; other addresses are never fetched."""

    code = "IMAGE_URL_NOT_ALLOWED"


class ImageMissing(NotFound):
    """The photo has not been uploaded, or it is not yours."""

    code = "IMAGE_NOT_FOUND"


class ModelUnsupported(BadRequest):
    """This model is not available."""

    code = "UNSUPPORTED_MODEL"


class ChatBusy(Conflict):
    """앞의 질문에 답하고 있어요. 답변이 끝나면 다시 보내 주세요."""

    code = "CHAT_BUSY"


class KeyReused(Conflict):
    """The idempotency key was used for another message; make a new key for each message."""

    code = "IDEMPOTENCY_KEY_REUSED"


class NotRetriable(Conflict):
    """Only the newest message of a chat can be tried again, and only where its answer failed or was stopped."""

    code = "NOT_RETRIABLE"


class TooManyOpenTurns(TooMany):
    """한 번에 여러 대화에서 답변을 기다리고 있어요. 앞의 답변이 끝나면 다시 보내 주세요."""

    code = "TOO_MANY_OPEN_TURNS"


class TooManyMessages(TooMany):
    """오늘 보낼 수 있는 메시지 수를 넘었어요. 내일 다시 보내 주세요."""

    code = "TOO_MANY_MESSAGES"


class JobNotFound(NotFound):
    """There is no such job, or it is not yours."""

    code = "JOB_NOT_FOUND"


class InputNotExpected(Conflict):
    """This answer does not wait for such an input."""

    code = "INPUT_NOT_EXPECTED"


class InputMalformed(BadRequest):
    """A location is {latitude, longitude}, a confirmation {confirmed}: true or false."""

    code = "INPUT_MALFORMED"


class AnswerLate(Unavailable):
    """The answer takes longer; it will be in the chat."""

    code = "ANSWER_LATE"


class AnswerFailed(Unavailable):
    """답변하지 못했어요. 다시 보내 주세요."""

    code = "ANSWER_FAILED"


Publish = Callable[[UUID, str], Awaitable[None]]
"""Checks and publishes a photo (user, key). NotFound, BadRequest."""


@dataclass(frozen=True)
class Talk(Services):
    """Dependencies of what takes messages."""

    bus: EventBus
    publisher: Publisher
    publish: Publish
    upload_secret: str
    models: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Asked:
    """A message as it was sent."""

    message: str | None
    image_url: str | None = None
    model: str | None = None
    location: Json | None = None
    inputs: tuple[str, ...] = ()


async def send(talk: Talk, user: UUID, chat_id: UUID, asked: Asked, key: str | None) -> Turn:
    """The turn of this message, new or known, handed over."""
    said = _checked(talk, user, asked)
    async with talk.turns.turn(user):
        await service.find(talk.db, chat_id, user)
        if said.image_key:
            await talk.publish(user, said.image_key)
        turn = _taken(await turn_store.submit(talk.db, chat_id, user, said, key, talk.limits))
    await hand_over(talk, turn)
    return turn


def _checked(talk: Talk, user: UUID, asked: Asked) -> Said:
    if not asked.message:
        raise MessageRequired
    if asked.model is not None and asked.model not in talk.models:
        raise ModelUnsupported(f"{asked.model!r} is not available; use one of {', '.join(talk.models)}, or none.")
    key = _own_image(talk, user, asked.image_url) if asked.image_url else None
    return Said(asked.message, key, asked.model, asked.location, asked.inputs)


def _own_image(talk: Talk, user: UUID, url: str) -> str:
    key = talk.storage.key_of(url)
    if key is None or uploads.key_channel(key) != "chat":
        raise ImageUrlRefused
    if not uploads.owns(talk.upload_secret, str(user), key):
        raise ImageMissing
    return key


def _taken(found: Turn | Refused) -> Turn:
    return found if isinstance(found, Turn) else _refuse(found)


def _refuse(refused: Refused) -> NoReturn:
    match refused.why:
        case "no_chat":
            raise ChatNotFound
        case "busy":
            raise ChatBusy
        case "key_reused":
            raise KeyReused
        case "not_retriable":
            raise NotRetriable
        case "open_turns":
            raise TooManyOpenTurns(retry_after=10)
        case "messages_per_day":
            raise TooManyMessages(retry_after=3600)


async def retry(talk: Talk, user: UUID, chat_id: UUID, message_id: UUID) -> Turn:
    """A new turn for the newest message, whose answer failed or was stopped; an open one stays as it is."""
    async with talk.turns.turn(user):
        turn = _taken(await turn_store.retry(talk.db, chat_id, message_id, user, talk.limits))
    await hand_over(talk, turn)
    return turn


async def hand_over(talk: Talk, turn: Turn) -> None:
    """Queue a turn that is not queued yet. Where broker or events are away it waits for the keeper."""
    if turn.queued or not turn.open:
        return
    try:
        await queue(talk, turn)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("a turn is queued later: %r", error, extra={"job_id": str(turn.id)})


async def queue(talk: Talk, turn: Turn) -> None:
    """BrokerDown, RedisError, OSError."""
    await talk.bus.emit(str(turn.id), *announcing.beginning(), owner=str(turn.user_id))
    await talk.publisher.send_json(CHAT_EXCHANGE, CHAT_QUEUE, {"job_id": str(turn.id)}, message_id=str(turn.id))
    await turn_store.queued(talk.db, {turn.id: datetime.now(UTC)})


async def find(talk: Talk, job_id: UUID, user: UUID) -> Turn:
    turn = await turn_store.load_own(talk.db, job_id, user)
    if turn is None:
        raise JobNotFound
    return turn


async def cancel(talk: Talk, job_id: UUID, user: UUID) -> Turn:
    """Ask the turn to end with what was said. One that no worker has begun ends now, any other within seconds."""
    turn = await find(talk, job_id, user)
    if not turn.open:
        return turn
    await turn_store.ask_to_cancel(talk.db, job_id)
    if turn.status == "queued":
        await stop(talk, turn)
    return await turn_store.load(talk.db, job_id) or turn


async def stop(talk: Talk, turn: Turn) -> None:
    """End a turn of which nothing was said."""
    if await turn_store.finish(talk.db, turn, "cancelled", Answer(announcing.STOPPED, metadata={"cancelled": True})):
        await announcing.try_to_announce(talk.db, talk.storage, talk.bus, turn)


async def give_input(talk: Talk, job_id: UUID, user: UUID, kind: str, data: Json) -> None:
    """InputNotExpected where the turn waits for nothing of this kind, InputMalformed where it is none."""
    turn = await find(talk, job_id, user)
    if turn.waiting_for != kind:
        raise InputNotExpected
    if not await turn_store.give_input(talk.db, job_id, kind, _input(kind, data)):
        raise InputNotExpected


def _input(kind: str, data: Json) -> Json:
    """The known fields of it, by type; none of a place that is not told. InputMalformed."""
    if kind == "confirmation":
        if not isinstance(data.get("confirmed"), bool):
            raise InputMalformed
        return {"confirmed": data["confirmed"]}
    if not data:
        return {}
    at = {}
    for name, most in (("latitude", 90), ("longitude", 180)):
        number = data.get(name)
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) <= most:
            raise InputMalformed
        at[name] = float(number)
    return at


async def ask(talk: Talk, user: UUID, chat_id: UUID | None, asked: Asked) -> tuple[UUID, str]:
    """(chat, answer) of a message that is waited for. Without a chat one is begun. AnswerLate, AnswerFailed."""
    _checked(talk, user, asked)
    if chat_id is None:
        chat_id = (await service.begin(talk, user, None, None)).id
    turn = await send(talk, user, chat_id, asked, None)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await talk.bus.wait_ended(str(turn.id))
    except (TimeoutError, RedisError, OSError) as error:
        log.warning("an answer is not waited for: %r", error, extra={"job_id": str(turn.id)})
    (found,) = await turn_store.exchanges(talk.db, [turn.id])
    if found.turn.open:
        raise AnswerLate
    if found.answer is None:
        raise AnswerFailed(found.turn.error or "")
    return chat_id, found.answer


async def delete(talk: Talk, chat_id: UUID, user: UUID) -> None:
    """It is gone for its user at once, and removed for good by `cleanup.chats`. Its open turn is stopped: a worker sees
    that it is to end, the keeper stops one without a worker."""
    if not await store.delete(talk.db, chat_id, user):
        raise ChatNotFound
