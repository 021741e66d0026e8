"""The first use of an uploaded photo: whoever needs one gets it checked and without its metadata, or not at all."""

import asyncio
from concurrent.futures import Executor

from eco2 import photos
from eco2.core.storage import ObjectTooLarge, Storage


async def take(storage: Storage, key: str, executor: Executor | None = None) -> tuple[bytes, str] | None:
    """(photo, content type) of the object at `key`; None when there is no object.

    Metadata (where the photo was taken) is removed in the store as well. What is no photo within the limits is deleted
    there and refused with the errors of `eco2.photos.check`. The check runs in `executor`, off the event loop.
    """
    try:
        data = await storage.get(key, photos.MAX_BYTES)
        if data is None:
            return None
        content_type, clean = await asyncio.get_running_loop().run_in_executor(executor, _inspect, data)
    except ObjectTooLarge:
        await storage.delete(key)
        raise photos.PhotoTooLarge from None
    except (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken):
        await storage.delete(key)
        raise
    if clean is None:
        return data, content_type
    await storage.put(key, clean, content_type)
    return clean, content_type


def _inspect(data: bytes) -> tuple[str, bytes | None]:
    info, clean = photos.inspect(data)
    return info.content_type, clean
