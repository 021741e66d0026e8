"""Every SQL statement of the character services."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.character.points import Entry, Standing, bands, day_of
from eco2.character.tables import members, ownerships, points, purged
from eco2.contracts.grants import TWIN_BITS, Grant

_LEDGER_LOCK = 0x63686172


async def lock_ledger(tx: AsyncConnection) -> None:
    """Until the end of the transaction nobody else decides about points or removes a user."""
    await tx.execute(select(func.pg_advisory_xact_lock(_LEDGER_LOCK)))


# --- ownerships -------------------------------------------------------------------------------------------------------

# Arrays instead of one VALUES row per grant: one statement for every size of batch, parsed and planned once.
_OWN = text("""
INSERT INTO character.ownerships (user_id, character_code, source, job_id, acquired_at)
SELECT * FROM unnest(
    CAST(:users AS uuid[]), CAST(:codes AS text[]), CAST(:sources AS text[]), CAST(:jobs AS uuid[]),
    CAST(:times AS timestamptz[])
)
ON CONFLICT DO NOTHING
RETURNING user_id
""")


async def add(tx: AsyncConnection, grants: Sequence[Grant]) -> int:
    """Write the grants, each (user, character) once; returns how many were new."""
    columns = {
        "users": [grant.user_id for grant in grants],
        "codes": [grant.character_code for grant in grants],
        "sources": [grant.source for grant in grants],
        "jobs": [grant.job_id for grant in grants],
        "times": [grant.earned_at for grant in grants],
    }
    return len((await tx.execute(_OWN, columns)).all())


async def owned(tx: AsyncConnection, user: UUID) -> list[tuple[str, datetime]]:
    """(character code, acquired at) of the user, oldest first."""
    columns = (ownerships.c.character_code, ownerships.c.acquired_at)
    statement = select(*columns).where(ownerships.c.user_id == user).order_by(ownerships.c.acquired_at, columns[0])
    return [(code, at) for code, at in await tx.execute(statement)]


async def earned_by(tx: AsyncConnection, user: UUID, code: str) -> UUID | None:
    """The job that earned the user the character."""
    found = (ownerships.c.user_id == user, ownerships.c.character_code == code)
    return (await tx.execute(select(ownerships.c.job_id).where(*found))).scalar_one_or_none()


# --- ledger -----------------------------------------------------------------------------------------------------------

# For each grant of the batch, what the ledger has so far. A twin of the same person is looked for among the person's
# rows; a twin of the day by the bands, of which it shares at least one. The first column is no EXISTS: PostgreSQL would
# read the whole ledger to answer it for all grants at once.
_STANDINGS = text("""
SELECT
    (SELECT p.id FROM character.points p WHERE p.job_id = g.job_id) IS NOT NULL,
    EXISTS (
        SELECT FROM character.points p
        WHERE p.user_id = g.user_id AND p.amount > 0
        AND (bit_count(p.phash # g.phash) <= :twin_bits OR p.digest = g.digest)
    ),
    EXISTS (
        SELECT FROM character.points p
        WHERE p.bands && CAST(string_to_array(g.bands, ',') AS int[]) AND p.amount > 0 AND p.day = g.day
        AND (bit_count(p.phash # g.phash) <= :twin_bits OR p.digest = g.digest)
    ),
    (SELECT coalesce(sum(p.amount), 0) FROM character.points p WHERE p.user_id = g.user_id AND p.day = g.day)
FROM unnest(
    CAST(:jobs AS uuid[]), CAST(:users AS uuid[]), CAST(:days AS date[]), CAST(:digests AS bytea[]),
    CAST(:hashes AS bit(256)[]), CAST(:bands AS text[])
) WITH ORDINALITY AS g(job_id, user_id, day, digest, phash, bands, n)
ORDER BY g.n
""")

_ENTER = text("""
INSERT INTO character.points
    (job_id, user_id, day, digest, phash, bands, amount, reason, character_code, earned_at)
SELECT job_id, user_id, day, digest, phash, CAST(string_to_array(bands, ',') AS int[]), amount, reason, code, at
FROM unnest(
    CAST(:jobs AS uuid[]), CAST(:users AS uuid[]), CAST(:days AS date[]), CAST(:digests AS bytea[]),
    CAST(:hashes AS bit(256)[]), CAST(:bands AS text[]),
    CAST(:amounts AS smallint[]), CAST(:reasons AS text[]), CAST(:codes AS text[]), CAST(:times AS timestamptz[])
) AS g(job_id, user_id, day, digest, phash, bands, amount, reason, code, at)
""")


async def standings(tx: AsyncConnection, grants: Sequence[Grant]) -> list[Standing]:
    """Of each grant, in their order. Holds until the end of the transaction when the ledger is locked."""
    columns = {**_columns(grants), "twin_bits": TWIN_BITS}
    return [Standing(*row) for row in await tx.execute(_STANDINGS, columns)]


async def enter(tx: AsyncConnection, entries: Sequence[Entry]) -> None:
    grants = [entry.grant for entry in entries]
    columns = {
        "amounts": [entry.amount for entry in entries],
        "reasons": [entry.reason for entry in entries],
        "codes": [grant.character_code for grant in grants],
        "times": [grant.earned_at for grant in grants],
    }
    await tx.execute(_ENTER, {**_columns(grants), **columns})


def _columns(grants: Sequence[Grant]) -> dict[str, list[Any]]:
    days = [day_of(grant.earned_at) for grant in grants]
    photos = [grant.photo for grant in grants]
    return {
        "jobs": [grant.job_id for grant in grants],
        "users": [grant.user_id for grant in grants],
        "days": days,
        "digests": [photo and bytes.fromhex(photo.digest) for photo in photos],
        "hashes": [photo and f"x{photo.phash}" for photo in photos],
        "bands": [
            photo and ",".join(map(str, bands(photo.phash, day))) for photo, day in zip(photos, days, strict=True)
        ],
    }


async def totals(tx: AsyncConnection, user: UUID) -> dict[date, int]:
    """Points by day."""
    statement = select(points.c.day, func.sum(points.c.amount)).where(points.c.user_id == user).group_by(points.c.day)
    return {day: int(amount) for day, amount in await tx.execute(statement)}


@dataclass(frozen=True)
class Line:
    """A row of the ledger as its user sees it."""

    id: int
    job_id: UUID
    amount: int
    reason: str
    character_code: str
    earned_at: datetime


_LINE = [points.c[name] for name in Line.__dataclass_fields__]


async def history(tx: AsyncConnection, user: UUID, before: tuple[datetime, int] | None, limit: int) -> list[Line]:
    """Newest first; `before`: (earned_at, id) of the last line of the page before."""
    place = tuple_(points.c.earned_at, points.c.id)
    statement = select(*_LINE).where(points.c.user_id == user).order_by(place.desc()).limit(limit)
    if before is not None:
        statement = statement.where(place < tuple_(*map(literal, before)))
    return [Line(*row) for row in await tx.execute(statement)]


# --- leaderboard ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    nickname: str
    district: str
    joined_at: datetime


async def join(tx: AsyncConnection, user: UUID, nickname: str, nickname_key: str, district: str) -> Member:
    """Enter, or change name and district. IntegrityError: another member of the district has a name of this key."""
    values = {"nickname": nickname, "nickname_key": nickname_key, "district": district}
    statement = insert(members).values(user_id=user, **values)
    statement = statement.on_conflict_do_update(index_elements=[members.c.user_id], set_=values)
    return Member(*(await tx.execute(statement.returning(*_MEMBER))).one())


async def leave(tx: AsyncConnection, user: UUID) -> int:
    return (await tx.execute(delete(members).where(members.c.user_id == user))).rowcount


async def member(tx: AsyncConnection, user: UUID) -> Member | None:
    row = (await tx.execute(select(*_MEMBER).where(members.c.user_id == user))).one_or_none()
    return Member(*row) if row else None


_MEMBER = [members.c[name] for name in Member.__dataclass_fields__]


async def ranking(tx: AsyncConnection, district: str, since: datetime | None) -> list[tuple[UUID, str, int]]:
    """(user, nickname, points since then) of everybody on the leaderboard of a district, most points first."""
    earned = points.c.user_id == members.c.user_id
    earned = earned if since is None else and_(earned, points.c.earned_at >= since)
    total = func.coalesce(func.sum(points.c.amount), 0)
    statement = (
        select(members.c.user_id, members.c.nickname, total)
        .select_from(members.outerjoin(points, earned))
        .where(members.c.district == district)
        .group_by(members.c.user_id)
        .order_by(total.desc(), members.c.joined_at)
    )
    return [(user, nickname, int(amount)) for user, nickname, amount in await tx.execute(statement)]


# --- a user's data ----------------------------------------------------------------------------------------------------


async def gone(tx: AsyncConnection, users: Iterable[UUID]) -> set[UUID]:
    """Those whose data was removed."""
    statement = select(purged.c.user_id).where(purged.c.user_id.in_(set(users)))
    return set((await tx.execute(statement)).scalars())


async def purge(tx: AsyncConnection, user: UUID) -> int:
    """Remove everything about the user, and remember that it was removed; how many rows there were."""
    await tx.execute(insert(purged).values(user_id=user).on_conflict_do_nothing())
    removed = 0
    for table in (ownerships, points, members):
        removed += (await tx.execute(delete(table).where(table.c.user_id == user))).rowcount
    return removed
