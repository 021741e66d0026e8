"""Chats of a user: begin, list, read, rename, delete; export and removal of all."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from eco2.chat import store
from eco2.chat.scans import Scans
from eco2.chat.store import Chat, Json, Message, Place
from eco2.core import cursors, user_data
from eco2.core.errors import NotFound, TooMany
from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.core.turns import Turns

EXPORT_PAGE = 10
"""Chats in a page of the copy; each comes with all its messages."""
EXPORT_MESSAGES = 500
PURGE_PAGE = 100
OPEN_TITLE = 100
"""Longest title."""


class ChatNotFound(NotFound):
    """There is no such chat, or it is not yours."""

    code = "CHAT_NOT_FOUND"


class ScanNotFound(NotFound):
    """There is no such scan, or it is not yours."""

    code = "RESULT_NOT_FOUND"


class TooManyChats(TooMany):
    """오늘 만들 수 있는 대화 수를 넘었어요. 앞의 대화에서 이어서 물어봐 주세요."""

    code = "TOO_MANY_CHATS"


@dataclass(frozen=True)
class Services:
    """Dependencies of the chat service."""

    db: Database
    storage: Storage
    scans: Scans
    chats_per_day: int
    turns: Turns


def plain(text: str) -> str:
    """As it is stored: composed (NFC, which keyboards of some systems do not send), without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


async def begin(services: Services, user: UUID, title: str | None, scan_job_id: UUID | None) -> Chat:
    """ScanNotFound, TooManyChats."""
    if scan_job_id is not None and not await services.scans.owns(user, scan_job_id):
        raise ScanNotFound
    async with services.turns.turn(user):
        chat = await store.add(services.db, uuid4(), user, title or None, scan_job_id, services.chats_per_day)
    if chat is None:
        raise TooManyChats(retry_after=3600)
    return chat


async def find(db: Database, chat_id: UUID, user: UUID) -> Chat:
    chat = await store.find(db, chat_id, user)
    if chat is None:
        raise ChatNotFound
    return chat


async def page(db: Database, user: UUID, cursor: str | None, limit: int) -> tuple[list[Chat], str | None]:
    """(chats, cursor of the next page). BadCursor."""
    rows = await store.page(db, user, _place(cursor), limit + 1)
    shown = rows[:limit]
    return shown, _cursor(shown[-1].active_at, shown[-1].id) if len(rows) > limit else None


@dataclass(frozen=True)
class History:
    """`older`: cursor of what comes before the messages, None at the beginning; `newest`: of what may come after."""

    messages: Sequence[Message]
    has_more: bool
    older: str | None
    newest: str | None


async def history(db: Database, chat_id: UUID, cursor: str | None, after: str | None, limit: int) -> History:
    """The newest messages, those before `cursor`, or those after `after`; oldest first. BadCursor."""
    before, later = _place(cursor), _place(after)
    rows = await store.messages(db, chat_id, limit + 1, before=before, after=later)
    more = len(rows) > limit
    forward = later is not None and before is None
    shown = (rows[:limit] if forward else rows[-limit:]) if more else rows
    older = _cursor(shown[0].created_at, shown[0].id) if more and not forward else None
    newest = _cursor(shown[-1].created_at, shown[-1].id) if shown else after
    return History(shown, more, older, newest)


def _cursor(at: datetime, row_id: UUID) -> str:
    return cursors.encode(at, str(row_id))


def _place(cursor: str | None) -> Place | None:
    return None if cursor is None else cursors.decode_uuid(cursor)


async def rename(db: Database, chat_id: UUID, user: UUID, title: str) -> None:
    if not await store.rename(db, chat_id, user, title):
        raise ChatNotFound


# --- all of a user ----------------------------------------------------------------------------------------------------


async def export(services: Services, user: UUID, cursor: str) -> tuple[user_data.Records, str]:
    """A page of the user's chats with their messages, oldest first, deleted ones that are not removed yet included."""
    rows = await store.everything(services.db, user, _place(cursor or None), EXPORT_PAGE + 1)
    shown = rows[:EXPORT_PAGE]
    records = [("chats", await _copy(services, chat)) for chat in shown]
    return records, _cursor(shown[-1].created_at, shown[-1].id) if len(rows) > EXPORT_PAGE else ""


async def _copy(services: Services, chat: Chat) -> Json:
    found: list[Message] = []
    place: Place | None = (datetime.min.replace(tzinfo=chat.created_at.tzinfo), UUID(int=0))
    while place is not None:
        rows = await store.messages(services.db, chat.id, EXPORT_MESSAGES, after=place)
        found += rows
        place = (rows[-1].created_at, rows[-1].id) if len(rows) == EXPORT_MESSAGES else None
    return {
        "id": str(chat.id),
        "title": chat.title,
        "created_at": chat.created_at,
        "scan_job_id": str(chat.scan_job_id) if chat.scan_job_id else None,
        "messages": [
            {
                "role": message.role,
                "content": message.content,
                "image_url": services.storage.public_url(message.image_key) if message.image_key else None,
                "created_at": message.created_at,
            }
            for message in found
        ],
    }


async def purge(services: Services, user: UUID) -> int:
    """Remove the user's chats for good; returns how many rows."""
    await store.forget_usage(services.db, user)
    removed = 0
    while chats := await store.chats_of(services.db, user, PURGE_PAGE):
        removed += await remove(services.db, services.storage, chats)
    return removed


async def remove(db: Database, storage: Storage, chats: Sequence[UUID]) -> int:
    """Remove chats for good. The photos go first, so that no photo is left without the row that names it."""
    await storage.delete(await store.images_of(db, chats))
    return await store.remove(db, chats)
