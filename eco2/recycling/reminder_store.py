"""SQL statements of reminders."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, LiteralString
from uuid import UUID

from eco2.core.postgres import Database

MOST_REFUSALS = 5
"""Evenings in a row on which the push service refused; then the reminder is stopped."""
MOST_DELAYS = 10
"""Evenings in a row on which it was put off without end; then the reminder is stopped."""
Stopped = Literal["refused", "delayed", "area", "key"]
"""Reason: the push service refused, or put it off, too often; the area is gone; the key is not in use."""
Offered = Mapping[str, Collection[str]]
"""Area → what it puts out on a day."""


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
    stopped: Stopped | None = None


_COLUMNS: LiteralString = "id, user_id, endpoint, p256dh, auth, public_key, district, area, collections, lang"
_READ: LiteralString = f"{_COLUMNS}, nullif(stopped, '')"


def _read(row: Sequence[Any]) -> Reminder:
    return Reminder(**dict(zip([*_COLUMNS.split(", "), "stopped"], row, strict=True)))


async def put(db: Database, reminder: Reminder, most: int) -> bool:
    """False: the user has so many of other browsers already; stopped ones make room. A browser that was another user's
    changes hands."""
    others: LiteralString = "user_id = %(user_id)s AND id <> %(id)s"
    room: LiteralString = f"""
        DELETE FROM recycling.reminders WHERE {others} AND stopped <> ''
            AND (SELECT count(*) FROM recycling.reminders WHERE {others}) >= %(most)s
        """
    sql: LiteralString = f"""
        INSERT INTO recycling.reminders AS old ({_COLUMNS})
        SELECT %(id)s, %(user_id)s, %(endpoint)s, %(p256dh)s, %(auth)s, %(public_key)s, %(district)s, %(area)s,
            %(collections)s::text[], %(lang)s
        WHERE (SELECT count(*) FROM recycling.reminders WHERE {others}) < %(most)s
        ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth,
            public_key = excluded.public_key, district = excluded.district, area = excluded.area,
            collections = excluded.collections, lang = excluded.lang, refusals = 0, try_after = NULL,
            delays = 0, delayed_for = NULL, stopped = '',
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
        await tx.run(room, **values, most=most)
        return await tx.row(sql, **values, most=most) is not None


async def of_user(db: Database, user: UUID) -> list[Reminder]:
    rows = await db.rows(
        f"SELECT {_READ} FROM recycling.reminders WHERE user_id = %(user)s ORDER BY created_at, id", user=user
    )
    return [_read(row) for row in rows]


async def exported(db: Database, user: UUID) -> list[dict[str, Any]]:
    """Records of the user's data. Keys are left out: with them others could send to the browser."""
    rows = await db.rows(
        "SELECT split_part(endpoint, '/', 3), district, area, collections, lang, created_at, told_for, "
        "stopped FROM recycling.reminders WHERE user_id = %(user)s ORDER BY created_at, id",
        user=user,
    )
    names = ("push_service", "district", "area", "collections", "lang", "created_at", "told_for", "stopped")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def remove(db: Database, user: UUID, reminder_id: str) -> bool:
    sql: LiteralString = "DELETE FROM recycling.reminders WHERE id = %(id)s AND user_id = %(user)s"
    return await db.run(sql, id=reminder_id, user=user) > 0


async def forget(db: Database, user: UUID) -> int:
    """Rows removed."""
    return await db.run("DELETE FROM recycling.reminders WHERE user_id = %(user)s", user=user)


# --- sending ----------------------------------------------------------------------------------------------------------


async def districts(db: Database, day: date) -> list[str]:
    """Districts of reminders that were not told of that day, and of those that are stopped for want of their area."""
    rows = await db.rows(
        "SELECT DISTINCT district FROM recycling.reminders "
        "WHERE told_for IS DISTINCT FROM %(day)s AND stopped IN ('', 'area') ORDER BY district",
        day=day,
    )
    return [row[0] for row in rows]


async def take(
    db: Database, district: str, area: str, names: Sequence[str], day: date, lease: timedelta, most: int
) -> list[Reminder]:
    """Reminders to send now. Each is held for the lease, and due again after it, should its sender die."""
    where: LiteralString = """
        district = %(district)s AND area = %(area)s AND told_for IS DISTINCT FROM %(day)s
        AND (collections = '{}' OR collections && %(names)s::text[])
        """
    values = {"district": district, "area": area, "day": day, "names": list(names)}
    return await _taken(db, where, values, lease, most)


async def take_strays(
    db: Database, district: str, offered: Offered, day: date, lease: timedelta, most: int
) -> list[Reminder]:
    """Reminders of areas that the district has no more, or whose collections have no day there any more; one that was
    refused for the day is left for another."""
    where: LiteralString = f"district = %(district)s AND told_for IS DISTINCT FROM %(day)s AND NOT {_IS_OFFERED}"
    return await _taken(db, where, {"district": district, "day": day, **_pairs(offered)}, lease, most)


async def _taken(
    db: Database, where: LiteralString, values: Mapping[str, Any], lease: timedelta, most: int
) -> list[Reminder]:
    rows = await db.rows(
        f"""
        UPDATE recycling.reminders SET try_after = now() + %(lease)s
        WHERE id IN (
            SELECT id FROM recycling.reminders
            WHERE stopped = '' AND (try_after IS NULL OR try_after <= now()) AND {where}
            ORDER BY try_after NULLS FIRST, id LIMIT %(most)s FOR UPDATE SKIP LOCKED)
        RETURNING {_READ}
        """,
        lease=lease,
        most=most,
        **values,
    )
    return [_read(row) for row in rows]


_IS_OFFERED: LiteralString = """
    EXISTS (SELECT FROM unnest(%(areas)s::text[], %(names)s::text[]) AS offered (area, name)
        WHERE offered.area = reminders.area
            AND (reminders.collections = '{}' OR offered.name = ANY(reminders.collections)))
    """


def _pairs(offered: Offered) -> dict[str, list[str]]:
    pairs = [(area, name) for area, names in offered.items() for name in names]
    return {"areas": [area for area, _ in pairs], "names": [name for _, name in pairs]}


async def resume(db: Database, district: str, offered: Offered) -> int:
    """Send again to those whose area is back: an import took it out by mistake."""
    return await db.run(
        "UPDATE recycling.reminders SET stopped = '', try_after = NULL "
        f"WHERE district = %(district)s AND stopped = 'area' AND {_IS_OFFERED}",
        district=district,
        **_pairs(offered),
    )


async def settle_keys(db: Database, known: Collection[str]) -> int:
    """Stop reminders that were made with no known key, and resume those whose key is back. Number of those stopped."""
    async with db.transaction() as tx:
        await tx.run(
            "UPDATE recycling.reminders SET stopped = '' WHERE stopped = 'key' AND public_key = ANY(%(known)s)",
            known=list(known),
        )
        return await tx.run(
            "UPDATE recycling.reminders SET stopped = 'key' WHERE stopped = '' AND NOT public_key = ANY(%(known)s)",
            known=list(known),
        )


async def told(db: Database, reminder_id: str, day: date) -> None:
    await db.run(
        "UPDATE recycling.reminders SET told_for = %(day)s, refusals = 0, delays = 0, delayed_for = NULL, "
        "try_after = NULL WHERE id = %(id)s",
        id=reminder_id,
        day=day,
    )


async def later(db: Database, reminder_id: str, at: datetime) -> None:
    """Try again then; its own fault it is not."""
    await db.run("UPDATE recycling.reminders SET try_after = %(at)s WHERE id = %(id)s", id=reminder_id, at=at)


async def put_off(db: Database, reminder_id: str, day: date, at: datetime) -> bool:
    """Try again then; True: stopped, after MOST_DELAYS evenings in a row without a message taken."""
    row = await db.row(
        """
        UPDATE recycling.reminders SET try_after = %(at)s, delayed_for = %(day)s,
            delays = delays + (delayed_for IS DISTINCT FROM %(day)s)::int,
            stopped = CASE WHEN stopped = '' AND delays + (delayed_for IS DISTINCT FROM %(day)s)::int >= %(most)s
                THEN 'delayed' ELSE stopped END
        WHERE id = %(id)s RETURNING stopped
        """,
        id=reminder_id,
        day=day,
        at=at,
        most=MOST_DELAYS,
    )
    return row is not None and row[0] == "delayed"


async def refused(db: Database, reminder_id: str, day: date) -> bool:
    """Not again this evening; True: stopped, after MOST_REFUSALS in a row."""
    row = await db.row(
        """
        UPDATE recycling.reminders SET told_for = %(day)s, try_after = NULL,
            refusals = refusals + (told_for IS DISTINCT FROM %(day)s)::int,
            stopped = CASE WHEN stopped = '' AND refusals + (told_for IS DISTINCT FROM %(day)s)::int >= %(most)s
                THEN 'refused' ELSE stopped END
        WHERE id = %(id)s RETURNING stopped
        """,
        id=reminder_id,
        day=day,
        most=MOST_REFUSALS,
    )
    return row is not None and row[0] == "refused"


async def stop(db: Database, reminder_id: str, why: Stopped) -> None:
    await db.run(
        "UPDATE recycling.reminders SET stopped = %(why)s, try_after = NULL WHERE id = %(id)s",
        id=reminder_id,
        why=why,
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
    """Reminders there are, those told of the newest day, those that were refused last, those that are stopped."""
    row = await db.row(
        "SELECT count(*), count(*) FILTER (WHERE told_for = (SELECT max(told_for) FROM recycling.reminders) "
        "AND refusals = 0), count(*) FILTER (WHERE refusals > 0), count(*) FILTER (WHERE stopped <> '') "
        "FROM recycling.reminders"
    )
    assert row is not None
    return {"subscribed": row[0], "told": row[1], "refused": row[2], "stopped": row[3]}
