"""Chats of a guest who has signed in: with their turns, events and photos they become the user's.

As with scans (`eco2.scan.claims`): the events go first, every step can be repeated, a turn that runs goes on.
"""

from collections.abc import Mapping
from typing import LiteralString
from uuid import UUID

from eco2.chat import store
from eco2.chat.conversation import Talk
from eco2.core.postgres import Database
from eco2.photos.reissue import reissue


async def claim(talk: Talk, guest: UUID, user: UUID) -> int:
    """Number of chats that became the user's. RedisError, StorageDown: what is left is claimed by the next call."""
    await store.forget_usage(talk.db, guest)
    for turn in await _turns_of(talk.db, guest):
        await talk.bus.give(str(turn), str(user))
    # The copies are there before the messages name them; what is sent meanwhile is seen to afterwards.
    claimed = await _give(talk.db, guest, user, await _reissued(talk, guest, user))
    for message, new in (await _reissued(talk, user, user)).items():
        await talk.db.rows(_NAMED_ANEW, id=message, new=new)
    return claimed


_NAMED_ANEW: LiteralString = "UPDATE chat.messages SET image_key = %(new)s WHERE id = %(id)s"


async def _reissued(talk: Talk, owner: UUID, user: UUID) -> dict[UUID, str]:
    """Message → new key of its photo, of which there is a copy now. Under its old key it is no longer known to
    image-api, whose cleanup deletes it."""
    found: dict[UUID, str] = {}
    for message, key in await _photos(talk.db, owner):
        new = await reissue(talk.storage, talk.upload_secret, user, key)
        if new != key:
            found[message] = new
    return found


async def _turns_of(db: Database, guest: UUID) -> list[UUID]:
    sql: LiteralString = "SELECT id FROM chat.turns WHERE user_id = %(guest)s"
    return [turn for (turn,) in await db.rows(sql, guest=guest)]


async def _give(db: Database, guest: UUID, user: UUID, photos: Mapping[UUID, str]) -> int:
    """An idempotency key that the user has used as well is none for a turn of the guest."""
    async with db.transaction() as tx:
        await tx.run(
            """UPDATE chat.turns AS turn
               SET user_id = %(user)s, idempotency_key = CASE WHEN NOT EXISTS (
                   SELECT FROM chat.turns AS own
                   WHERE own.user_id = %(user)s AND own.idempotency_key = turn.idempotency_key)
                   THEN turn.idempotency_key END
               WHERE user_id = %(guest)s""",
            guest=guest,
            user=user,
        )
        for message, new in photos.items():
            await tx.run(_NAMED_ANEW, id=message, new=new)
        sql: LiteralString = "UPDATE chat.sessions SET user_id = %(user)s WHERE user_id = %(guest)s"
        return await tx.run(sql, guest=guest, user=user)


async def _photos(db: Database, user: UUID) -> list[tuple[UUID, str]]:
    """(message id, object key) of what the user has sent lately."""
    rows = await db.rows(
        """SELECT messages.id, image_key FROM chat.messages JOIN chat.sessions ON sessions.id = chat_id
           WHERE user_id = %(user)s AND active_at > now() - interval '7 days' AND image_key IS NOT NULL""",
        user=user,
    )
    return [(message, key) for message, key in rows]
