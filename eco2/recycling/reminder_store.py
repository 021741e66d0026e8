"""SQL statements of reminders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from eco2.core.postgres import Database

MOST_REFUSALS = 5
"""Evenings in a row on which the push service refused; then the reminder is removed."""


@dataclass(frozen=True)
class Reminder:
    """A browser and what its user is reminded of; `collections` empty: of everything."""

    id: str
    user_id: UUID
    endpoint: str
    p256dh: str
    auth: str
    public_key: str
    district: str
    area: str
    collections: Sequence[str]
    lang: str


_COLUMNS: LiteralString = "id, user_id, endpoint, p256dh, auth, public_key, district, area, collections, lang"


def _read(row: Sequence[Any]) -> Reminder:
    return Reminder(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


async def put(db: Database, reminder: Reminder, most: int) -> bool:
    """False: the user has so many of other browsers already. A browser that was another user's changes hands."""
    sql: LiteralString = f"""
        INSERT INTO recycling.reminders AS old ({_COLUMNS})
        SELECT %(id)s, %(user_id)s, %(endpoint)s, %(p256dh)s, %(auth)s, %(public_key)s, %(district)s, %(area)s,
            %(collections)s::text[], %(lang)s
        WHERE (SELECT count(*) FROM recycling.reminders WHERE user_id = %(user_id)s AND id <> %(id)s) < %(most)s
        ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth,
            public_key = excluded.public_key, district = excluded.district, area = excluded.area,
            collections = excluded.collections, lang = excluded.lang, refusals = 0, try_after = NULL,
            told_for = CASE WHEN
                (old.user_id, old.district, old.area, old.collections, old.p256dh, old.auth, old.public_key)
                IS DISTINCT FROM (excluded.user_id, excluded.district, excluded.area, excluded.collections,
                    excluded.p256dh, excluded.auth, excluded.public_key)
                THEN NULL ELSE old.told_for END
        RETURNING id
        """
    async with db.transaction() as tx:
        # Two browsers at once would each count the others without the lock.
        lock: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('reminders:' || %(user)s::text, 0))"
        await tx.row(lock, user=reminder.user_id)
        values = {**vars(reminder), "collections": list(reminder.collections)}
        return await tx.row(sql, **values, most=most) is not None


async def of_user(db: Database, user: UUID) -> list[Reminder]:
    rows = await db.rows(
        f"SELECT {_COLUMNS} FROM recycling.reminders WHERE user_id = %(user)s ORDER BY created_at, id", user=user
    )
    return [_read(row) for row in rows]


async def exported(db: Database, user: UUID) -> list[dict[str, Any]]:
    """Records of the user's data. Keys are left out: with them others could send to the browser."""
    rows = await db.rows(
        "SELECT split_part(endpoint, '/', 3), district, area, collections, lang, created_at, told_for "
        "FROM recycling.reminders WHERE user_id = %(user)s ORDER BY created_at, id",
        user=user,
    )
    names = ("push_service", "district", "area", "collections", "lang", "created_at", "told_for")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def remove(db: Database, user: UUID, reminder_id: str) -> bool:
    sql: LiteralString = "DELETE FROM recycling.reminders WHERE id = %(id)s AND user_id = %(user)s"
    return await db.run(sql, id=reminder_id, user=user) > 0


async def forget(db: Database, user: UUID) -> int:
    """Rows removed."""
    return await db.run("DELETE FROM recycling.reminders WHERE user_id = %(user)s", user=user)


# --- sending ----------------------------------------------------------------------------------------------------------


async def districts(db: Database, day: date) -> list[str]:
    """Districts of reminders that were not told of that day."""
    rows = await db.rows(
        "SELECT DISTINCT district FROM recycling.reminders WHERE told_for IS DISTINCT FROM %(day)s ORDER BY district",
        day=day,
    )
    return [row[0] for row in rows]


async def take(
    db: Database, district: str, area: str, names: Sequence[str], day: date, lease: timedelta, most: int
) -> list[Reminder]:
    """Reminders to send now. Each is held for the lease, and due again after it, should its sender die."""
    rows = await db.rows(
        f"""
        UPDATE recycling.reminders SET try_after = now() + %(lease)s
        WHERE id IN (
            SELECT id FROM recycling.reminders
            WHERE district = %(district)s AND area = %(area)s AND told_for IS DISTINCT FROM %(day)s
                AND (collections = '{{}}' OR collections && %(names)s::text[])
                AND (try_after IS NULL OR try_after <= now())
            ORDER BY try_after NULLS FIRST, id LIMIT %(most)s FOR UPDATE SKIP LOCKED)
        RETURNING {_COLUMNS}
        """,
        lease=lease,
        district=district,
        area=area,
        day=day,
        names=list(names),
        most=most,
    )
    return [_read(row) for row in rows]


async def told(db: Database, reminder_id: str, day: date) -> None:
    await db.run(
        "UPDATE recycling.reminders SET told_for = %(day)s, refusals = 0, try_after = NULL WHERE id = %(id)s",
        id=reminder_id,
        day=day,
    )


async def later(db: Database, reminder_id: str, at: datetime) -> None:
    await db.run("UPDATE recycling.reminders SET try_after = %(at)s WHERE id = %(id)s", id=reminder_id, at=at)


async def refused(db: Database, reminder_id: str, day: date) -> None:
    """Not again this evening; removed after MOST_REFUSALS in a row."""
    async with db.transaction() as tx:
        await tx.run(
            "UPDATE recycling.reminders SET told_for = %(day)s, refusals = refusals + 1, try_after = NULL "
            "WHERE id = %(id)s",
            id=reminder_id,
            day=day,
        )
        await tx.run(
            "DELETE FROM recycling.reminders WHERE id = %(id)s AND refusals >= %(most)s",
            id=reminder_id,
            most=MOST_REFUSALS,
        )


async def gone(db: Database, reminder: Reminder) -> None:
    """The browser has ended its subscription. One that it has renewed meanwhile stays."""
    await db.run(
        "DELETE FROM recycling.reminders WHERE id = %(id)s AND auth = %(auth)s", id=reminder.id, auth=reminder.auth
    )


async def by_key(db: Database) -> dict[str, int]:
    """Public key → reminders that were made with it, the most first."""
    rows = await db.rows("SELECT public_key, count(*) FROM recycling.reminders GROUP BY 1 ORDER BY 2 DESC, 1")
    return {row[0]: row[1] for row in rows}


async def counts(db: Database) -> Mapping[str, int]:
    """Reminders there are, those told of the newest day, those that were refused last."""
    row = await db.row(
        "SELECT count(*), count(*) FILTER (WHERE told_for = (SELECT max(told_for) FROM recycling.reminders) "
        "AND refusals = 0), count(*) FILTER (WHERE refusals > 0) FROM recycling.reminders"
    )
    assert row is not None
    return {"subscribed": row[0], "told": row[1], "refused": row[2]}
