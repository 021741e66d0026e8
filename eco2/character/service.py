"""The catalogue of characters, who owns which, and the grants that give characters and points."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from prometheus_client import Counter
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.character import points, store
from eco2.character.points import Rates, Streak
from eco2.contracts.grants import Grant
from eco2.core.consumer import Message, PoisonMessage
from eco2.core.errors import BadRequest
from eco2.knowledge import Character, Knowledge

DEFAULT_CODE = "char-eco"
EPOCH = datetime(2020, 1, 1, tzinfo=points.KOREA)
ENTRIES = Counter("eco2_points_entries_total", "Rows of the points ledger", ["reason"])
_IDS = UUID("0a4c2f5e-8d0b-4f0e-9a51-3f1f0f7f2c11")


class BadCursor(BadRequest):
    """Give the next_cursor of the page before, as it was."""

    code = "INVALID_CURSOR"


@dataclass(frozen=True)
class Owned:
    id: UUID
    character: Character
    acquired_at: datetime


def character_id(code: str) -> UUID:
    """The id of a character is derived from its code, so it is the same in every environment."""
    return uuid5(_IDS, code)


def by_code(knowledge: Knowledge) -> dict[str, Character]:
    return {character.code: character for character in knowledge.characters}


async def owned(tx: AsyncConnection, knowledge: Knowledge, user: UUID) -> list[Owned]:
    """The user's characters, oldest first. Everybody owns the default character, without a row for it."""
    characters = by_code(knowledge)
    rows = [(code, at) for code, at in await store.owned(tx, user) if code in characters]
    if DEFAULT_CODE not in {code for code, _ in rows}:
        rows.insert(0, (DEFAULT_CODE, rows[0][1] if rows else datetime.now(UTC)))
    return [Owned(character_id(code), characters[code], at) for code, at in rows]


def parse(message: Message, knowledge: Knowledge) -> Grant:
    """PoisonMessage when the body is no grant of the contract, or names an unknown character or an impossible time."""
    try:
        grant = Grant.model_validate_json(message.body)
    except ValidationError as error:
        raise PoisonMessage(str(error)) from error
    if grant.character_code not in by_code(knowledge):
        raise PoisonMessage(f"unknown character {grant.character_code!r}")
    if grant.earned_at < EPOCH:
        raise PoisonMessage(f"earned at {grant.earned_at}, before there was anything to earn")
    # A clock that is ahead must not open the next day early.
    return grant.model_copy(update={"earned_at": min(grant.earned_at, datetime.now(UTC))})


@dataclass(frozen=True)
class Account:
    """`lines`: a page of the ledger; `cursor` asks for the next one, None on the last."""

    balance: int
    today: int
    streak: Streak
    lines: list[store.Line]
    cursor: str | None


async def account(tx: AsyncConnection, user: UUID, cursor: str | None, limit: int, now: datetime) -> Account:
    """The user's points and a page of how they came about, newest first. BadCursor."""
    totals, today = await store.totals(tx, user), points.day_of(now)
    lines = await store.history(tx, user, _place(cursor) if cursor else None, limit + 1)
    more, lines = len(lines) > limit, lines[:limit]
    return Account(
        balance=sum(totals.values()),
        today=totals.get(today, 0),
        streak=points.streak(totals, today),
        lines=lines,
        cursor=_cursor(lines[-1]) if more else None,
    )


def _cursor(line: store.Line) -> str:
    return urlsafe_b64encode(f"{line.earned_at.isoformat()} {line.id}".encode()).decode()


def _place(cursor: str) -> tuple[datetime, int]:
    try:
        earned_at, number = urlsafe_b64decode(cursor).decode().split(" ")
        place = datetime.fromisoformat(earned_at), int(number)
    except ValueError:
        raise BadCursor from None
    if place[0].tzinfo is None or not 0 < place[1] < 2**63:
        raise BadCursor
    return place


@dataclass(frozen=True)
class Written:
    characters: int
    """How many were new to their users."""
    amount: int
    """Points of the batch."""


async def grant(tx: AsyncConnection, knowledge: Knowledge, rates: Rates, messages: Sequence[Message]) -> Written:
    """Write the grants of a batch: the characters, and the points of those that come from a scan.

    The character is given whatever the photo is: the result of the scan has already said so. Only one batch is in work
    at a time, among all workers, since what a photo is worth depends on what was written before.
    """
    found = [parse(message, knowledge) for message in messages]
    await store.lock_ledger(tx)
    gone = await store.gone(tx, {one.user_id for one in found})
    kept = [one for one in found if one.user_id not in gone]
    new = await store.add(tx, kept)
    scans = [one for one in kept if one.source == "scan"]
    entries = points.decide(scans, await store.standings(tx, scans), rates)
    await store.enter(tx, entries)
    for entry in entries:
        ENTRIES.labels(entry.reason).inc()
    return Written(new, sum(entry.amount for entry in entries))


async def purge(tx: AsyncConnection, user: UUID) -> int:
    """Remove everything about the user; how many rows there were. No batch is in work meanwhile."""
    await store.lock_ledger(tx)
    return await store.purge(tx, user)
