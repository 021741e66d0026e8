"""Leaderboards of districts: membership, nicknames, and the public view.

Others see nickname, points and rank of members, if there are enough members; no ids.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from psycopg.errors import UniqueViolation

from eco2.character import store
from eco2.character.points import KOREA
from eco2.core import names
from eco2.core.errors import BadRequest, Conflict
from eco2.core.postgres import Session
from eco2.knowledge.districts import Districts, UnknownDistrict

Period = Literal["week", "month", "all"]

SHOWN = 50
_NICKNAME = re.compile(r"[\w .·-]{2,20}")


class NicknameRefused(BadRequest):
    """Use 2 to 20 letters (Korean, Latin, Chinese or Japanese), digits, spaces or . · - _ as your nickname, no phone
    number and no name of staff; it is public."""

    code = "INVALID_NICKNAME"


class NicknameTaken(Conflict):
    """Another member of this leaderboard has a nickname that looks the same; choose another one."""

    code = "NICKNAME_TAKEN"


class DistrictUnknown(BadRequest):
    """There is no such district; name one of GET /api/v1/character/districts, such as 서울특별시 금천구."""

    code = "UNKNOWN_DISTRICT"


class DistrictRequired(BadRequest):
    """Name a district; only members of a leaderboard can leave it out."""

    code = "DISTRICT_REQUIRED"


# --- districts --------------------------------------------------------------------------------------------------------


def full_name(districts: Districts, text: str) -> str:
    """The full name of a district. DistrictUnknown."""
    try:
        return districts.named(text)
    except UnknownDistrict as error:
        raise DistrictUnknown(str(error)) from None


# --- taking part ------------------------------------------------------------------------------------------------------


async def join(db: Session, districts: Districts, user: UUID, nickname: str, district: str) -> store.Member:
    """Enter, or change name and district. NicknameRefused, NicknameTaken, DistrictUnknown."""
    name = checked_nickname(nickname)
    try:
        return await store.join(db, user, name, names.key(name), full_name(districts, district))
    except UniqueViolation:
        raise NicknameTaken from None


def checked_nickname(text: str) -> str:
    nickname = " ".join(unicodedata.normalize("NFC", text).split())
    if not _NICKNAME.fullmatch(nickname) or sum(letter.isdigit() for letter in nickname) > 6:
        raise NicknameRefused
    if not names.is_plain(nickname) or not names.is_visible(nickname) or names.is_staff(nickname):
        raise NicknameRefused
    return nickname


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    rank: int
    nickname: str
    points: int
    you: bool


@dataclass(frozen=True)
class Board:
    """`members` is None, and `entries` empty, where too few people take part to be shown."""

    district: str
    period: Period
    since: datetime | None
    members: int | None
    entries: list[Entry]


def start(period: Period, now: datetime) -> datetime | None:
    """When the running period began: Monday, or the first of the month, in Korea."""
    today = now.astimezone(KOREA).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return today - timedelta(days=today.weekday())
    return today.replace(day=1) if period == "month" else None


async def board(
    db: Session,
    districts: Districts,
    user: UUID,
    district: str | None,
    period: Period,
    now: datetime,
    min_members: int,
) -> Board:
    """Without `district` that of the user. DistrictRequired, DistrictUnknown."""
    if district is None:
        own = await store.member(db, user)
        if own is None:
            raise DistrictRequired
        named = own.district
    else:
        named = full_name(districts, district)
    since = start(period, now)
    rows = await store.ranking(db, named, since)
    if len(rows) < min_members:
        return Board(named, period, since, None, [])
    return Board(named, period, since, len(rows), ranked(rows, user))


def ranked(rows: list[tuple[UUID, str, int]], user: UUID) -> list[Entry]:
    """The first SHOWN members with points, and the user at any rank; equal points give equal ranks."""
    entries: list[Entry] = []
    for place, (who, nickname, points) in enumerate(rows, 1):
        if not points:
            break
        rank = entries[-1].rank if entries and entries[-1].points == points else place
        entries.append(Entry(rank, nickname, points, who == user))
    return [entry for number, entry in enumerate(entries) if number < SHOWN or entry.you]
