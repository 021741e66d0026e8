"""The catalogue of characters, ownerships, and the grants that give characters and points."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from prometheus_client import Counter
from pydantic import ValidationError

from eco2.character import points, store
from eco2.character.points import Rates, Streak
from eco2.character.settings import ApiSettings
from eco2.contracts.grants import DEFAULT_CHARACTER, Grant
from eco2.core import cursors
from eco2.core.errors import NotFound
from eco2.core.postgres import Database, Session, Transaction
from eco2.core.rendered import Rendered
from eco2.knowledge import Character, Knowledge
from eco2.knowledge.districts import Districts
from eco2.messaging.consumer import Message, PoisonMessage

EPOCH = datetime(2020, 1, 1, tzinfo=points.KOREA)
ENTRIES = Counter("eco2_points_entries_total", "Rows of the points ledger", ["reason"])
_IDS = UUID("0a4c2f5e-8d0b-4f0e-9a51-3f1f0f7f2c11")


class CharacterNotFound(NotFound):
    """There is no character of this name; GET /api/v1/character/catalog lists them."""

    code = "CHARACTER_NOT_FOUND"


@dataclass(frozen=True)
class Owned:
    id: UUID
    character: Character
    acquired_at: datetime


@dataclass(frozen=True)
class Services:
    """Dependencies of character-api."""

    settings: ApiSettings
    db: Database
    knowledge: Knowledge
    districts: Districts
    catalogue: Rendered
    district_names: Rendered


def character_id(code: str) -> UUID:
    """The id of a character is derived from its code, so it is the same in every environment."""
    return uuid5(_IDS, code)


def by_code(knowledge: Knowledge) -> dict[str, Character]:
    return {character.code: character for character in knowledge.characters}


async def owned(db: Session, knowledge: Knowledge, user: UUID) -> list[Owned]:
    """The user's characters, oldest first. Every user has the default one, also while its grant is on its way."""
    characters = by_code(knowledge)
    rows = [(code, at) for code, at in await store.owned(db, user) if code in characters]
    if DEFAULT_CHARACTER not in {code for code, _ in rows}:
        rows.insert(0, (DEFAULT_CHARACTER, rows[0][1] if rows else datetime.now(UTC)))
    return [Owned(character_id(code), characters[code], at) for code, at in rows]


async def owns(db: Session, knowledge: Knowledge, user: UUID, name: str) -> bool:
    """True when the user owns the character of that name. CharacterNotFound."""
    if name not in {character.name for character in knowledge.characters}:
        raise CharacterNotFound
    return any(row.character.name == name for row in await owned(db, knowledge, user))


# --- rewards of a scan ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scanned:
    """Classes as the taxonomy spells them; `complete`: nothing was left undone."""

    major: str
    middle: str
    rule_found: bool
    complete: bool


def of_class(knowledge: Knowledge, middle: str) -> Character | None:
    """The character of a middle class."""
    return next((character for character in knowledge.characters if character.match == middle), None)


def earned(knowledge: Knowledge, scanned: Scanned) -> Character | None:
    """The rule of the contract: a recyclable with a rule and nothing left undone earns the character of its class."""
    recyclable = scanned.major == knowledge.taxonomy.recyclable_major
    if not (recyclable and scanned.rule_found and scanned.complete):
        return None
    return of_class(knowledge, scanned.middle)


async def give(tx: Transaction, character: Character, user: UUID, job: UUID) -> bool:
    """Let the user own the character for that job; False when the user had it before. Again gives the same answer."""
    await store.lock_ledger(tx)
    if await store.gone(tx, [user]):
        return False
    grant = Grant(job_id=job, user_id=user, character_code=character.code, source="scan", earned_at=datetime.now(UTC))
    await store.add(tx, [grant])
    return await store.earned_by(tx, user, character.code) == job


# --- grants -----------------------------------------------------------------------------------------------------------


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
class Written:
    characters: int
    """Number of those that were new to their users."""
    amount: int
    """Points of the batch."""


async def grant(tx: Transaction, knowledge: Knowledge, rates: Rates, messages: Sequence[Message]) -> Written:
    """Write the grants of a batch: the characters, and the points of those that come from a scan.

    The character is given for any photo: the result of the scan has already said so. Only one batch is in work
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


# --- points -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """`lines`: a page of the ledger; `cursor` asks for the next one, None on the last."""

    balance: int
    today: int
    streak: Streak
    lines: list[store.Line]
    cursor: str | None


async def account(db: Session, user: UUID, cursor: str | None, limit: int, now: datetime) -> Account:
    """The user's points and a page of how they came about, newest first. BadCursor."""
    totals, today = await store.totals(db, user), points.day_of(now)
    lines = await store.history(db, user, place(cursor) if cursor else None, limit + 1)
    more, lines = len(lines) > limit, lines[:limit]
    return Account(
        balance=sum(totals.values()),
        today=totals.get(today, 0),
        streak=points.streak(totals, today),
        lines=lines,
        cursor=cursors.encode(lines[-1].earned_at, str(lines[-1].id)) if more else None,
    )


def place(cursor: str) -> tuple[datetime, int]:
    """End of the page before. BadCursor."""
    at, number = cursors.decode(cursor)
    if not number.isascii() or not number.isdecimal() or int(number) >= 2**63:
        raise cursors.BadCursor
    return at, int(number)


async def purge(tx: Transaction, user: UUID) -> int:
    """Remove everything about the user; how many rows there were. No batch is in work meanwhile."""
    await store.lock_ledger(tx)
    return await store.purge(tx, user)
