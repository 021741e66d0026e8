"""Evaluation questions that changed rules answer differently: published by `eco2 knowledge diff`, read by stewards."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from eco2.core.postgres import Database
from eco2.knowledge.stewards.answers import Changed


@dataclass(frozen=True)
class Published:
    """`before` and `after`: versions of the knowledge base."""

    before: str
    after: str
    published_at: datetime
    total: int
    worse: int


async def publish(db: Database, before: str, after: str, found: Sequence[Changed]) -> None:
    """Publish in place of earlier ones."""
    async with db.transaction() as tx:
        await tx.run("DELETE FROM recycling.answer_changes")
        await tx.run(
            """INSERT INTO recycling.answer_changes (id, before, after, changes)
               VALUES (1, %(before)s, %(after)s, %(changes)s)""",
            before=before,
            after=after,
            changes=Jsonb([asdict(one) for one in found]),
        )


async def published(db: Database, first: int, limit: int) -> tuple[Published, list[Changed]] | None:
    """The comparison that was published last, with `limit` of its changes from the one of that number on."""
    row = await db.row(
        """SELECT before, after, published_at, jsonb_array_length(changes),
               (SELECT count(*) FROM jsonb_array_elements(changes) one WHERE one -> 'worse' <> '[]'),
               coalesce((SELECT jsonb_agg(one ORDER BY place)
                         FROM jsonb_array_elements(changes) WITH ORDINALITY AS rows (one, place)
                         WHERE place > %(first)s AND place <= %(first)s + %(limit)s), '[]')
           FROM recycling.answer_changes""",
        first=first,
        limit=limit,
    )
    return (Published(*row[:5]), [Changed(**one) for one in row[5]]) if row else None
