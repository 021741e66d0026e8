"""SQL statements of users' reports about places."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eco2.core.postgres import Database


async def say(
    db: Database, report: UUID, place: int, user: UUID, kind: str, comment: str | None, per_day: int
) -> tuple[UUID, datetime] | None:
    """(id, time) of the report; one that the user repeats replaces the former. None: the day's reports are used up."""
    row = await db.row(
        """INSERT INTO location.feedback AS known (id, place_id, user_id, kind, comment)
           SELECT %(id)s, %(place)s, %(user)s, %(kind)s, %(comment)s
           WHERE (SELECT count(*) FROM location.feedback
                  WHERE user_id = %(user)s AND created_at > now() - interval '1 day') < %(per_day)s
           ON CONFLICT (place_id, user_id, kind) DO UPDATE SET comment = excluded.comment, created_at = now()
           RETURNING id, created_at""",
        id=report,
        place=place,
        user=user,
        kind=kind,
        comment=comment,
        per_day=per_day,
    )
    return (row[0], row[1]) if row else None


async def said(db: Database, place: int | None, limit: int) -> list[dict[str, Any]]:
    """Reports about a place, or about all that are not retired, newest first; without who said it."""
    rows = await db.rows(
        """SELECT s.place_id, p.name, p.road_address, s.kind, s.comment, s.created_at
           FROM location.feedback s JOIN location.places p ON p.id = s.place_id
           WHERE %(place)s::bigint = s.place_id OR (%(place)s::bigint IS NULL AND p.retired_at IS NULL)
           ORDER BY s.created_at DESC LIMIT %(limit)s""",
        place=place,
        limit=limit,
    )
    names = ("place_id", "name", "address", "kind", "comment", "created_at")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def of_user(db: Database, user: UUID) -> list[dict[str, Any]]:
    """For the copy of a user's data."""
    rows = await db.rows(
        """SELECT place_id, kind, comment, created_at FROM location.feedback
           WHERE user_id = %(user)s ORDER BY created_at, id""",
        user=user,
    )
    return [dict(zip(("place_id", "kind", "comment", "created_at"), row, strict=True)) for row in rows]


async def forget(db: Database, user: UUID) -> int:
    return len(await db.rows("DELETE FROM location.feedback WHERE user_id = %(user)s RETURNING id", user=user))


@dataclass(frozen=True)
class Reported:
    """Something that a user says of a place, without who it is. `reports`: how many say the same of it."""

    id: UUID
    place_id: int
    name: str
    road_address: str | None
    kind: str
    comment: str | None
    created_at: datetime
    reports: int


async def reported(db: Database, kind: str | None, after: tuple[datetime, UUID] | None, limit: int) -> list[Reported]:
    """Reports about places that are on the map, the newest first, after that of (time, id)."""
    at, last = after or (None, None)
    rows = await db.rows(
        """SELECT s.id, s.place_id, p.name, coalesce(p.road_address, p.lot_address), s.kind, s.comment, s.created_at,
               (SELECT count(*) FROM location.feedback same WHERE same.place_id = s.place_id AND same.kind = s.kind)
           FROM location.feedback s JOIN location.places p ON p.id = s.place_id
           WHERE p.retired_at IS NULL AND (%(kind)s::text IS NULL OR s.kind = %(kind)s)
             AND (%(at)s::timestamptz IS NULL OR (s.created_at, s.id) < (%(at)s, %(last)s::uuid))
           ORDER BY s.created_at DESC, s.id DESC LIMIT %(limit)s""",
        kind=kind,
        at=at,
        last=last,
        limit=limit,
    )
    return [Reported(*row) for row in rows]


async def settle(db: Database, report: UUID) -> bool:
    """Delete a report; False if there is none."""
    return bool(await db.run("DELETE FROM location.feedback WHERE id = %(id)s", id=report))
