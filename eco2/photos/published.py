"""The public copy of a photo: whoever needs a photo first has it checked, stripped of its metadata and published.

What a client uploads is never public. Its copy is written once, so whatever is uploaded to the same key later changes
nothing for anybody (docs/adr/0025-what-is-public-was-checked.md).
"""

import asyncio
from concurrent.futures import Executor

from eco2 import photos
from eco2.core.storage import ObjectTooLarge, Storage


async def take(storage: Storage, key: str, executor: Executor | None = None) -> tuple[bytes, str] | None:
    """(public photo, content type) of `key`, published if it is not yet; None when nothing was uploaded.

    An upload that is no photo within the limits is deleted and refused with the errors of `eco2.photos.check`. The
    check runs in `executor`, off the event loop. The owner may have left meanwhile: whoever publishes looks afterwards
    whether the photo is still wanted, and deletes it if not.
    """
    try:
        upload = await _checked_upload(storage, key, executor)
    except (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken):
        await storage.uploads.delete([key])
        published = await _published(storage, key)
        if published is None:
            raise
        return published  # what was refused came after the photo that was checked
    if upload is not None and await storage.public.create(key, *upload):
        return upload
    return await _published(storage, key)


async def _checked_upload(storage: Storage, key: str, executor: Executor | None) -> tuple[bytes, str] | None:
    try:
        data = await storage.uploads.get(key, photos.MAX_BYTES)
    except ObjectTooLarge:
        raise photos.PhotoTooLarge from None
    if data is None:
        return None
    return await asyncio.get_running_loop().run_in_executor(executor, _inspect, data)


async def _published(storage: Storage, key: str) -> tuple[bytes, str] | None:
    data = await storage.public.get(key, photos.MAX_BYTES)
    return None if data is None else (data, photos.sniff(data))


def _inspect(data: bytes) -> tuple[bytes, str]:
    info, clean = photos.inspect(data)
    return data if clean is None else clean, info.content_type
