"""Routes of chat-api: the chats of a user with their messages."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from eco2.chat import service
from eco2.chat.scans import ScansUnavailable
from eco2.chat.service import Services
from eco2.chat.store import Message
from eco2.core.app import AnyUser, BadUser, MissingUser, Text, User, error_responses, opened
from eco2.core.cursors import BadCursor
from eco2.core.errors import TooMany

router = APIRouter(prefix="/api/v1/chat", tags=["chat"])

CHAT_ID = "7d0f6c0a-52c7-4a3e-9a55-0f6a0f3f8f10"
_MESSAGE = "2f3d9c54-8f0e-4d15-8a3b-6f1f8a1f0b77"
JOB_ID = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"
_SCAN = "9a1f0d9d-2c11-4f0c-8a39-0b6f3c1e4a55"
_CURSOR_EXAMPLE = "MjAyNi0xMi0wMVQwOTozMDowMCswMDowMCA3ZDBmNmMwYS01MmM3LTRhM2UtOWE1NS0wZjZhMGYzZjhmMTA"
USER_ERRORS = (MissingUser, BadUser)
At = Annotated[Services, opened(Services)]


def _composed(value: object) -> object:
    return service.plain(value) if isinstance(value, str) else value


def _not_blank(text: str) -> str:
    if not text:
        raise ValueError("must not be blank")
    return text


Composed = Annotated[Text, BeforeValidator(_composed)]
"""Text in one form (NFC), without blanks around it; its length is that of this form."""
Title = Annotated[Composed, Field(max_length=service.OPEN_TITLE)]

Time = Annotated[datetime, Field(examples=["2026-12-01T09:30:00Z"])]


class NewChat(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"title": "캔 버리기"}, {"scan_job_id": _SCAN}]})

    title: Annotated[Title | None, Field(description="Without one the first message gives it")] = None
    scan_job_id: Annotated[UUID | None, Field(description="A scan of yours that the chat goes on from")] = None


class ChatCreated(BaseModel):
    id: Annotated[UUID, Field(examples=[CHAT_ID])]
    title: Annotated[str | None, Field(examples=["캔 버리기"])]
    created_at: Time
    scan_job_id: Annotated[UUID | None, Field(examples=[_SCAN])] = None


class ChatInList(BaseModel):
    id: Annotated[UUID, Field(examples=[CHAT_ID])]
    title: Annotated[str | None, Field(examples=["캔 버리기"])]
    preview: Annotated[str | None, Field(description="How the newest message begins", examples=["캔은 비우고 …"])]
    message_count: Annotated[int, Field(ge=0, examples=[2])]
    last_message_at: Annotated[datetime | None, Field(examples=["2026-12-01T09:30:00Z"])]
    created_at: Time


class Chats(BaseModel):
    chats: list[ChatInList]
    next_cursor: Annotated[str | None, Field(description="Of the next page; null on the last one", examples=[None])]


class TurnState(BaseModel):
    """State of the answer to a message of yours."""

    job_id: Annotated[UUID, Field(examples=[JOB_ID])]
    status: Annotated[
        Literal["queued", "processing", "completed", "failed", "cancelled"], Field(examples=["completed"])
    ]
    error: Annotated[str | None, Field(description="Why it failed, in words")] = None
    code: Annotated[str | None, Field(description="The same for programs")] = None


_TURN = {"job_id": JOB_ID, "status": "completed", "error": None, "code": None}


class ChatMessage(BaseModel):
    id: Annotated[UUID, Field(examples=[_MESSAGE])]
    role: Annotated[Literal["user", "assistant"], Field(examples=["user"])]
    content: Annotated[str, Field(examples=["캔은 어떻게 버려요?"])]
    image_url: Annotated[str | None, Field(examples=[None])]
    intent: Annotated[str | None, Field(description="Of an answer: what the question was about", examples=[None])]
    metadata: Annotated[dict[str, Any] | None, Field(examples=[None])]
    turn: Annotated[TurnState | None, Field(description="Of your messages", examples=[_TURN])] = None
    created_at: Time


class ChatDetail(BaseModel):
    id: Annotated[UUID, Field(examples=[CHAT_ID])]
    title: Annotated[str | None, Field(examples=["캔 버리기"])]
    messages: Annotated[list[ChatMessage], Field(description="Oldest first")]
    has_more: Annotated[bool, Field(description="There are more in the direction that was asked for", examples=[False])]
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor` for the older messages", examples=[None])]
    newest_cursor: Annotated[
        str | None, Field(description="Give it as `after` for messages that came since", examples=[_CURSOR_EXAMPLE])
    ]
    scan_job_id: Annotated[UUID | None, Field(examples=[_SCAN])]
    created_at: Time


class Rename(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "캔 버리기"}]})

    title: Annotated[Title, AfterValidator(_not_blank)]


_CURSOR = Query(max_length=200, description="`next_cursor` of the page before")


@router.get(
    "",
    operation_id="listChats",
    response_model=Chats,
    summary="Your chats",
    responses=error_responses(*USER_ERRORS, BadCursor),
)
async def chats(
    user: User,
    at: At,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, _CURSOR] = None,
) -> Chats:
    """The one that you talked in last comes first; one in which nothing was said yet stands at its beginning."""
    rows, following = await service.page(at.db, user, cursor, limit)
    return Chats(chats=[ChatInList.model_validate(vars(row)) for row in rows], next_cursor=following)


@router.post(
    "",
    operation_id="createChat",
    response_model=ChatCreated,
    status_code=201,
    summary="Begin a chat",
    responses=error_responses(*USER_ERRORS, service.ScanNotFound, service.TooManyChats, TooMany, ScansUnavailable),
)
async def create(user: AnyUser, at: At, body: NewChat | None = None) -> ChatCreated:
    """The body may be missing."""
    asked = body or NewChat()
    chat = await service.begin(at, user, asked.title, asked.scan_job_id)
    return ChatCreated.model_validate(vars(chat))


@router.get(
    "/{chat_id}",
    operation_id="getChat",
    response_model=ChatDetail,
    summary="A chat with its messages",
    responses=error_responses(*USER_ERRORS, service.ChatNotFound, BadCursor),
)
async def detail(
    chat_id: UUID,
    user: AnyUser,
    at: At,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor`: older messages")] = None,
    after: Annotated[str | None, Query(max_length=200, description="`newest_cursor`: newer messages")] = None,
) -> ChatDetail:
    """The newest messages, oldest first. `cursor` wins over `after`."""
    chat = await service.find(at.db, chat_id, user)
    found = await service.history(at.db, chat_id, cursor, after, limit)
    return ChatDetail(
        id=chat.id,
        title=chat.title,
        messages=[_message(at, message) for message in found.messages],
        has_more=found.has_more,
        next_cursor=found.older,
        newest_cursor=found.newest,
        scan_job_id=chat.scan_job_id,
        created_at=chat.created_at,
    )


def _message(own: Services, message: Message) -> ChatMessage:
    shown = {name: value for name, value in vars(message).items() if name in ChatMessage.model_fields}
    turn = message.turn and TurnState.model_validate(
        dict(zip(("job_id", "status", "error", "code"), message.turn, strict=True))
    )
    url = own.storage.public_url(message.image_key) if message.image_key else None
    return ChatMessage.model_validate({**shown, "turn": turn, "image_url": url})


@router.patch(
    "/{chat_id}",
    operation_id="renameChat",
    status_code=204,
    summary="Rename a chat",
    responses=error_responses(*USER_ERRORS, service.ChatNotFound),
)
async def rename(chat_id: UUID, body: Rename, user: AnyUser, at: At) -> None:
    """At most 100 characters."""
    await service.rename(at.db, chat_id, user, body.title)
