"""`cleanup.uploads`: removes unused uploads of the other channels, and rows of uploads without a photo, after a day.

`eco2.scan.photo_cleanup` does the same for photos of scans.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from eco2.contracts.tasks import Outcome
from eco2.contracts.uploads import CHANNELS
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, StorageSettings
from eco2.core.storage import Bucket, Found, Storage
from eco2.image import store
from eco2.photos import leftovers
from eco2.photos.settings import RetentionSettings

OWN_CHANNELS = tuple(channel for channel in CHANNELS if channel != "scan")


class CleanupSettings(DatabaseSettings, StorageSettings, RetentionSettings):
    pass


async def run(_argument: str) -> Outcome:
    settings = CleanupSettings()
    async with open_database(settings, repeat=True) as db:
        return await clean(db, Storage(settings), settings.photo_retention)


async def clean(db: Database, storage: Storage, older: timedelta) -> Outcome:
    """Photos that a row names stay, and those from before the oldest row: then the database is another one. Where
    there is no photo at all, the bucket is another one, and the rows stay."""
    before = datetime.now(UTC) - older
    oldest = await store.oldest(db)

    async def unused(_found: Sequence[Found]) -> set[str]:
        return set()

    async def named(found: Sequence[Found]) -> set[str]:
        kept = await store.known(db, [photo.key for photo in found])
        return kept | {photo.key for photo in found if oldest is None or photo.modified < oldest}

    uploads = [await leftovers.remove(storage.uploads, name, before, unused) for name in OWN_CHANNELS]
    photos = [await leftovers.remove(storage.public, name, before, named) for name in OWN_CHANNELS]
    rows = [await _forget_rows(db, storage.public, name, before) for name in CHANNELS if await _any(storage.public)]
    return Outcome({"uploads": sum(uploads), "photos": sum(photos), "rows": sum(rows)})


async def _any(bucket: Bucket) -> bool:
    async for _ in bucket.listed(""):
        return True
    return False


async def _forget_rows(db: Database, bucket: Bucket, channel: str, before: datetime) -> int:
    """Of uploads that were not used, or whose photo was deleted with its scan. Walks rows and objects side by side."""
    forgotten, after = 0, f"{channel}/"
    async for last, keys in _stretches(bucket, channel):
        gone = [key for key in await store.between(db, after, last, before) if key not in keys]
        await store.forget(db, gone)
        forgotten, after = forgotten + len(gone), last
    return forgotten


async def _stretches(bucket: Bucket, channel: str) -> AsyncIterator[tuple[str, set[str]]]:
    """(last key, all keys up to it) of the channel's objects, some at a time, to the end of all keys it may have."""
    async for chunk in bucket.listed(channel):
        yield chunk[-1].key, {found.key for found in chunk}
    yield f"{channel}0", set()  # "0" comes after "/"
