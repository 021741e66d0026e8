"""gRPC services of image-api: a user's uploads, to copy or to remove."""

from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.core import cursors, user_data
from eco2.core.grpc import Register
from eco2.core.storage import Storage
from eco2.image import store

PAGE = 200


def user_data_of(engine: AsyncEngine, storage: Storage) -> Register:
    async def export(user: UUID, cursor: str) -> tuple[user_data.Records, str]:
        after = cursors.decode(cursor) if cursor else None
        async with engine.connect() as tx:
            rows = await store.page(tx, user, after, PAGE)
        records = [("uploads", _record(storage, upload) | {"created_at": at}) for upload, at in rows]
        return records, cursors.encode(rows[-1][1], rows[-1][0].key) if len(rows) == PAGE else ""

    return user_data.register(export, partial(purge, engine, storage))


async def purge(engine: AsyncEngine, storage: Storage, user: UUID) -> int:
    """The objects first: a row that is left finds its object again, an object without a row is found by nobody.

    And once more after the rows: a photo may be published in between. Who publishes one later misses the row.
    """
    removed = 0
    while True:
        async with engine.connect() as tx:
            keys = await store.keys_of(tx, user, PAGE)
        await storage.delete(keys)
        async with engine.begin() as tx:
            await store.forget(tx, keys)
        await storage.delete(keys)
        removed += len(keys)
        if len(keys) < PAGE:
            return removed


def _record(storage: Storage, upload: store.Upload) -> dict[str, object]:
    return {
        "key": upload.key,
        "url": storage.public_url(upload.key),
        "channel": upload.channel,
        "content_type": upload.content_type,
        "metadata": upload.metadata,
    }
