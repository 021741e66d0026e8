"""Routes of chat-api for messages and their answers."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from eco2 import photos
from eco2.chat import conversation
from eco2.chat.api import CHAT_ID, JOB_ID, USER_ERRORS, Composed
from eco2.chat.conversation import LONGEST_MESSAGE, Asked, Talk
from eco2.chat.service import ChatNotFound, TooManyChats
from eco2.chat.turn_store import Turn
from eco2.core.app import AnyUser, error_responses, opened
from eco2.core.errors import TooMany
from eco2.core.storage import StorageDown

router = APIRouter(prefix="/api/v1/chat", tags=["chat"])

At = Annotated[Talk, opened(Talk)]
Words = Annotated[
    Composed | None, Field(max_length=LONGEST_MESSAGE, description="Required: without it the answer is 400")
]


class Location(BaseModel):
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, examples=[37.5665])]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, examples=[126.978])]


class NewMessage(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "required": ["message"],  # documented so; the service answers its own 400 where it is missing
            "examples": [
                {"message": "캔은 어떻게 버려요?"},
                {
                    "message": "가까운 데 어디에 있어요?",
                    "user_location": {"latitude": 37.5665, "longitude": 126.978},
                    "model": "gpt-5.2",
                },
            ],
        }
    )

    message: Words = None
    image_url: Annotated[
        str | None, Field(max_length=1000, description="cdn_url of a photo that you uploaded to /images/chat")
    ] = None
    user_location: Annotated[Location | None, Field(description="Forgotten when the answer is there")] = None
    model: Annotated[str | None, Field(max_length=100, description="Leave it out for the default")] = None
    inputs: Annotated[
        tuple[Literal["location", "confirmation"], ...],
        Field(
            max_length=2,
            description="What you can give while the answer is written, when an event `needs_input` asks for it; "
            "without it the answer waits for nothing",
        ),
    ] = ()


class MessageSubmitted(BaseModel):
    job_id: Annotated[UUID, Field(examples=[JOB_ID])]
    stream_url: Annotated[str, Field(examples=[f"/api/v1/chat/{JOB_ID}/events"])]
    status: Literal["submitted"] = "submitted"


class TurnStatus(BaseModel):
    job_id: Annotated[UUID, Field(examples=[JOB_ID])]
    status: Annotated[
        Literal["queued", "processing", "completed", "failed", "cancelled"], Field(examples=["cancelled"])
    ]


class Input(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "location", "data": {"latitude": 37.5665, "longitude": 126.978}},
                {"type": "confirmation", "data": {"confirmed": True}},
                {"type": "cancel"},
            ]
        }
    )

    type: Literal["location", "confirmation", "cancel"]
    data: dict[str, Any] | None = None


class InputReceived(BaseModel):
    status: Literal["received"] = "received"
    job_id: Annotated[UUID, Field(examples=[JOB_ID])]


class LegacyMessage(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "캔은 어떻게 버려요?"}]})

    message: Words = None
    session_id: Annotated[UUID | None, Field(description="A chat of yours; without it a new one is begun")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="Has no effect")] = None
    image_url: Annotated[str | None, Field(max_length=1000)] = None


class LegacyAnswer(BaseModel):
    session_id: Annotated[UUID, Field(examples=[CHAT_ID])]
    user_answer: Annotated[str, Field(examples=["캔은 비우고 헹군 뒤 캔류로 내놓으세요."])]


_LIMITS = (conversation.TooManyOpenTurns, conversation.TooManyMessages, TooMany)
_SEND_ERRORS = (
    *USER_ERRORS,
    conversation.MessageRequired,
    conversation.ImageUrlRefused,
    conversation.ModelUnsupported,
    photos.PhotoTypeRefused,
    photos.PhotoBroken,
    ChatNotFound,
    conversation.ImageMissing,
    conversation.ChatBusy,
    photos.PhotoTooLarge,
    *_LIMITS,
    StorageDown,
)


@router.post(
    "/messages",
    operation_id="askInChat",
    response_model=LegacyAnswer,
    status_code=201,
    summary="Send a message and wait for the answer",
    responses=error_responses(*_SEND_ERRORS, TooManyChats, conversation.AnswerLate, conversation.AnswerFailed),
)
async def ask(body: LegacyMessage, user: AnyUser, at: At) -> LegacyAnswer:
    """For clients that cannot stream. After a minute the answer is 503 `ANSWER_LATE`; it will be in the chat."""
    chat, answer = await conversation.ask(at, user, body.session_id, Asked(body.message, body.image_url))
    return LegacyAnswer(session_id=chat, user_answer=answer)


@router.post(
    "/{chat_id}/messages",
    operation_id="sendMessage",
    response_model=MessageSubmitted,
    summary="Send a message",
    responses=error_responses(*_SEND_ERRORS, conversation.KeyReused),
)
async def send(
    chat_id: UUID,
    body: NewMessage,
    user: AnyUser,
    at: At,
    x_idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> MessageSubmitted:
    """Answers at once; follow `stream_url`. The message is stored whatever happens to its answer.

    With the same idempotency key, or with the same words within some seconds, the same job. While an answer is being
    written another message is 409 `CHAT_BUSY`."""
    location = body.user_location.model_dump() if body.user_location else None
    asked = Asked(body.message, body.image_url, body.model, location, body.inputs)
    return _submitted(await conversation.send(at, user, chat_id, asked, x_idempotency_key))


@router.post(
    "/{chat_id}/messages/{message_id}/retry",
    operation_id="retryMessage",
    response_model=MessageSubmitted,
    summary="Ask for another answer where there is none",
    responses=error_responses(*USER_ERRORS, ChatNotFound, conversation.ChatBusy, conversation.NotRetriable, *_LIMITS),
)
async def retry(chat_id: UUID, message_id: UUID, user: AnyUser, at: At) -> MessageSubmitted:
    """For the newest message of the chat, whose answer failed or was stopped. What was said before it was stopped
    gives way to the new answer."""
    return _submitted(await conversation.retry(at, user, chat_id, message_id))


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelAnswer",
    response_model=TurnStatus,
    summary="Stop an answer",
    responses=error_responses(*USER_ERRORS, conversation.JobNotFound),
)
async def cancel(job_id: UUID, user: AnyUser, at: At) -> TurnStatus:
    """Keeps in the chat what was said so far. Its stream ends with `done` within seconds; one that has ended stays."""
    turn = await conversation.cancel(at, job_id, user)
    return TurnStatus(job_id=turn.id, status=turn.status)


@router.post(
    "/{job_id}/input",
    operation_id="giveInput",
    response_model=InputReceived,
    summary="Give what an answer waits for",
    responses=error_responses(
        *USER_ERRORS, conversation.InputMalformed, conversation.JobNotFound, conversation.InputNotExpected
    ),
)
async def give_input(job_id: UUID, body: Input, user: AnyUser, at: At) -> InputReceived:
    """A place or a confirmation, after an event `needs_input` whose result names it: the answer goes on with it, and
    after a minute, or with an empty `data` for the place, without. `cancel` stops the answer."""
    if body.type == "cancel":
        await conversation.cancel(at, job_id, user)
    else:
        await conversation.give_input(at, job_id, user, body.type, body.data or {})
    return InputReceived(job_id=job_id)


@router.delete(
    "/{chat_id}",
    operation_id="deleteChat",
    status_code=204,
    summary="Delete a chat",
    responses=error_responses(*USER_ERRORS, ChatNotFound),
)
async def delete(chat_id: UUID, user: AnyUser, at: At) -> None:
    """It is gone at once, and with its photos removed for good a day later. An answer that is being written ends.
    Deleting it again answers 404."""
    await conversation.delete(at, chat_id, user)


def _submitted(turn: Turn) -> MessageSubmitted:
    return MessageSubmitted(job_id=turn.id, stream_url=f"/api/v1/chat/{turn.id}/events")
