"""`cleanup.chats`: chats that their users deleted a while ago go for good, with messages, turns and photos; photos and
drawn pictures that no message came to show go after a day; where a user was is forgotten a day after a turn without an
answer."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from eco2.chat import service, store, turn_store
from eco2.chat.settings import CleanupSettings
from eco2.contracts.tasks import Outcome
from eco2.core.postgres import Database, open_database
from eco2.core.storage import Found, Storage
from eco2.photos import leftovers

BATCH = 100
LOCATION_RETENTION = timedelta(days=1)
"""Time in which a turn that failed or was stopped can be tried again from the same place."""


UNUSED_RETENTION = timedelta(days=1)
"""Time that a photo has to be sent with a message, and a picture to become part of its answer."""


async def run(_argument: str) -> Outcome:
    settings = CleanupSettings()
    async with open_database(settings, repeat=True) as db:
        return await clean(db, Storage(settings), settings.chat_retention)


async def clean(db: Database, storage: Storage, older: timedelta) -> Outcome:
    """A chat in which a turn still runs stays for the next round: what the turn writes would be left."""
    await turn_store.forget_locations(db, datetime.now(UTC) - LOCATION_RETENTION)
    before, removed = datetime.now(UTC) - older, 0
    while chats := await store.deleted_before(db, before, BATCH):
        removed += await service.remove(db, storage, chats)
    return Outcome({"chats": removed, "photos": await remove_unused(db, storage, UNUSED_RETENTION)})


async def remove_unused(db: Database, storage: Storage, older: timedelta) -> int:
    """Photos from before the oldest chat stay: then the database is another one."""
    oldest = await store.oldest(db)

    async def kept(found: Sequence[Found]) -> set[str]:
        named = await store.images_named(db, [photo.key for photo in found])
        return named | {photo.key for photo in found if oldest is None or photo.modified < oldest}

    return await leftovers.remove(storage.public, "chat", datetime.now(UTC) - older, kept)
