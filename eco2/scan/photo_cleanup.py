"""`cleanup.photos`: removes unused uploads for scans, and public photos that no scan shows, after a day."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from eco2.contracts.tasks import Outcome
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, StorageSettings
from eco2.core.storage import Found, Storage
from eco2.photos import leftovers
from eco2.photos.settings import RetentionSettings
from eco2.scan import photo_store

CHANNEL = "scan"


class CleanupSettings(DatabaseSettings, StorageSettings, RetentionSettings):
    pass


async def run(_argument: str) -> Outcome:
    settings = CleanupSettings()
    async with open_database(settings, repeat=True) as db:
        return await clean(db, Storage(settings), settings.photo_retention)


async def clean(db: Database, storage: Storage, older: timedelta) -> Outcome:
    """The uploads of open scans stay, and photos from before the oldest scan: then the database is another one."""
    before = datetime.now(UTC) - older

    async def about_to_be_used(found: Sequence[Found]) -> set[str]:
        return await photo_store.photos_of_open_jobs(db, [photo.key for photo in found])

    async def shown(found: Sequence[Found]) -> set[str]:
        kept = await photo_store.photos_shown(db, [photo.key for photo in found])
        orphans = [photo for photo in found if photo.key not in kept]
        known_since = await photo_store.known_since(db, [photo.modified for photo in orphans])
        return kept | {photo.key for photo in orphans if photo.modified not in known_since}

    return Outcome(
        {
            "uploads": await leftovers.remove(storage.uploads, CHANNEL, before, about_to_be_used),
            "photos": await leftovers.remove(storage.public, CHANNEL, before, shown),
        }
    )
