"""Every SQL statement of the character services."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString
from uuid import UUID

from eco2.character.points import Entry, Standing, bands, day_of
from eco2.contracts.grants import TWIN_BITS, Grant
from eco2.core.postgres import Session

_LEDGER_LOCK = 0x63686172


async def lock_ledger(db: Session) -> None:
    """Lock until the end of the transaction: no other one decides about points or removes a user."""
    await db.rows("SELECT pg_advisory_xact_lock(%(lock)s)", lock=_LEDGER_LOCK)


# --- ownerships -------------------------------------------------------------------------------------------------------

# Arrays instead of one VALUES row per grant: one statement for every size of batch, parsed and planned once.
_OWN: LiteralString = """
INSERT INTO character.ownerships (user_id, character_code, source, job_id, acquired_at)
SELECT * FROM unnest(
    CAST(%(users)s AS uuid[]), CAST(%(codes)s AS text[]), CAST(%(sources)s AS text[]), CAST(%(jobs)s AS uuid[]),
    CAST(%(times)s AS timestamptz[])
)
ON CONFLICT DO NOTHING
RETURNING user_id
"""


async def add(db: Session, grants: Sequence[Grant]) -> int:
    """Write the grants, each (user, character) once; returns how many were new."""
    columns = {
        "users": [grant.user_id for grant in grants],
        "codes": [grant.character_code for grant in grants],
        "sources": [grant.source for grant in grants],
        "jobs": [grant.job_id for grant in grants],
        "times": [grant.earned_at for grant in grants],
    }
    return len(await db.rows(_OWN, **columns))


async def owned(db: Session, user: UUID) -> list[tuple[str, datetime]]:
    """(character code, acquired at) of the user, oldest first."""
    rows = await db.rows(
        """SELECT character_code, acquired_at FROM character.ownerships WHERE user_id = %(user)s
           ORDER BY acquired_at, character_code""",
        user=user,
    )
    return [(code, at) for code, at in rows]


async def earned_by(db: Session, user: UUID, code: str) -> UUID | None:
    """The job that earned the user the character."""
    sql: LiteralString = (
        "SELECT job_id FROM character.ownerships WHERE user_id = %(user)s AND character_code = %(code)s"
    )
    row = await db.row(sql, user=user, code=code)
    return row[0] if row else None


# --- ledger -----------------------------------------------------------------------------------------------------------

# For each grant of the batch, what the ledger has so far. A twin of the same person is looked for among the person's
# rows; a twin of the day by the bands, of which it shares at least one. The first column is no EXISTS: PostgreSQL would
# read the whole ledger to answer it for all grants at once.
_STANDINGS: LiteralString = """
SELECT
    (SELECT p.id FROM character.points p WHERE p.job_id = g.job_id) IS NOT NULL,
    EXISTS (
        SELECT FROM character.points p
        WHERE p.user_id = g.user_id AND p.amount > 0
        AND (bit_count(p.phash # g.phash) <= %(twin_bits)s OR p.digest = g.digest)
    ),
    EXISTS (
        SELECT FROM character.points p
        WHERE p.bands && CAST(string_to_array(g.bands, ',') AS int[]) AND p.amount > 0 AND p.day = g.day
        AND (bit_count(p.phash # g.phash) <= %(twin_bits)s OR p.digest = g.digest)
    ),
    (SELECT coalesce(sum(p.amount), 0) FROM character.points p WHERE p.user_id = g.user_id AND p.day = g.day)
FROM unnest(
    CAST(%(jobs)s AS uuid[]), CAST(%(users)s AS uuid[]), CAST(%(days)s AS date[]), CAST(%(digests)s AS bytea[]),
    CAST(%(hashes)s AS bit(256)[]), CAST(%(bands)s AS text[])
) WITH ORDINALITY AS g(job_id, user_id, day, digest, phash, bands, n)
ORDER BY g.n
"""

_ENTER: LiteralString = """
INSERT INTO character.points
    (job_id, user_id, day, digest, phash, bands, amount, reason, character_code, earned_at)
SELECT job_id, user_id, day, digest, phash, CAST(string_to_array(bands, ',') AS int[]), amount, reason, code, at
FROM unnest(
    CAST(%(jobs)s AS uuid[]), CAST(%(users)s AS uuid[]), CAST(%(days)s AS date[]), CAST(%(digests)s AS bytea[]),
    CAST(%(hashes)s AS bit(256)[]), CAST(%(bands)s AS text[]),
    CAST(%(amounts)s AS smallint[]), CAST(%(reasons)s AS text[]), CAST(%(codes)s AS text[]),
    CAST(%(times)s AS timestamptz[])
) AS g(job_id, user_id, day, digest, phash, bands, amount, reason, code, at)
"""


async def standings(db: Session, grants: Sequence[Grant]) -> list[Standing]:
    """Of each grant, in their order. Holds until the end of the transaction when the ledger is locked."""
    columns = {**_columns(grants), "twin_bits": TWIN_BITS}
    return [Standing(*row) for row in await db.rows(_STANDINGS, **columns)]


async def enter(db: Session, entries: Sequence[Entry]) -> None:
    grants = [entry.grant for entry in entries]
    columns = {
        "amounts": [entry.amount for entry in entries],
        "reasons": [entry.reason for entry in entries],
        "codes": [grant.character_code for grant in grants],
        "times": [grant.earned_at for grant in grants],
    }
    await db.run(_ENTER, **_columns(grants), **columns)


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


async def totals(db: Session, user: UUID) -> dict[date, int]:
    """Points by day."""
    rows = await db.rows(
        "SELECT day, sum(amount) FROM character.points WHERE user_id = %(user)s GROUP BY day", user=user
    )
    return {day: int(amount) for day, amount in rows}


@dataclass(frozen=True)
class Line:
    """A row of the ledger as its user sees it."""

    id: int
    job_id: UUID
    amount: int
    reason: str
    character_code: str
    earned_at: datetime


async def history(db: Session, user: UUID, before: tuple[datetime, int] | None, limit: int) -> list[Line]:
    """Newest first; `before`: (earned_at, id) of the last line of the page before."""
    sql: LiteralString = """SELECT id, job_id, amount, reason, character_code, earned_at FROM character.points
        WHERE user_id = %(user)s"""
    if before is not None:
        sql += " AND (earned_at, id) < (%(at)s, %(id)s)"
    at, line = before or (None, None)
    sql += " ORDER BY earned_at DESC, id DESC LIMIT %(limit)s"
    return [Line(*row) for row in await db.rows(sql, user=user, at=at, id=line, limit=limit)]


# --- leaderboard ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    nickname: str
    district: str
    joined_at: datetime


_MEMBER: LiteralString = "nickname, district, joined_at"


async def join(db: Session, user: UUID, nickname: str, nickname_key: str, district: str) -> Member:
    """Enter, or change name and district. UniqueViolation: another member of the district has a name of this key."""
    row = await db.row(
        f"""INSERT INTO character.leaderboard_members (user_id, nickname, nickname_key, district)
            VALUES (%(user)s, %(nickname)s, %(nickname_key)s, %(district)s)
            ON CONFLICT (user_id) DO UPDATE SET nickname = excluded.nickname, nickname_key = excluded.nickname_key,
                district = excluded.district
            RETURNING {_MEMBER}""",
        user=user,
        nickname=nickname,
        nickname_key=nickname_key,
        district=district,
    )
    assert row is not None
    return Member(*row)


async def leave(db: Session, user: UUID) -> int:
    return await db.run("DELETE FROM character.leaderboard_members WHERE user_id = %(user)s", user=user)


async def member(db: Session, user: UUID) -> Member | None:
    row = await db.row(f"SELECT {_MEMBER} FROM character.leaderboard_members WHERE user_id = %(user)s", user=user)
    return Member(*row) if row else None


async def ranking(db: Session, district: str, since: datetime | None) -> list[tuple[UUID, str, int]]:
    """(user, nickname, points since then) of all members of a district's leaderboard, most points first."""
    earned: LiteralString = "points.user_id = members.user_id"
    if since is not None:
        earned += " AND points.earned_at >= %(since)s"
    rows = await db.rows(
        f"""SELECT members.user_id, members.nickname, coalesce(sum(points.amount), 0) AS total
            FROM character.leaderboard_members AS members LEFT JOIN character.points ON {earned}
            WHERE members.district = %(district)s
            GROUP BY members.user_id ORDER BY total DESC, members.joined_at""",
        district=district,
        since=since,
    )
    return [(user, nickname, int(total)) for user, nickname, total in rows]


# --- a user's data ----------------------------------------------------------------------------------------------------


async def gone(db: Session, users: Iterable[UUID]) -> set[UUID]:
    """Those whose data was removed."""
    rows = await db.rows(
        "SELECT user_id FROM character.purged_users WHERE user_id = ANY(%(users)s)", users=list(set(users))
    )
    return {row[0] for row in rows}


async def purge(db: Session, user: UUID) -> int:
    """Remove everything about the user, and remember that it was removed; how many rows there were."""
    await db.run("INSERT INTO character.purged_users (user_id) VALUES (%(user)s) ON CONFLICT DO NOTHING", user=user)
    removed = await db.run("DELETE FROM character.ownerships WHERE user_id = %(user)s", user=user)
    removed += await db.run("DELETE FROM character.points WHERE user_id = %(user)s", user=user)
    return removed + await leave(db, user)
