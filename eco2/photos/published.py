"""The public copy of a photo: the first use of a photo checks it, strips its metadata and publishes it.

A client's upload is never public. Its copy is written once, so a later upload to the same key changes
nothing (docs/adr/0025-what-is-public-was-checked.md).
"""

from collections.abc import Awaitable, Callable

from eco2 import photos
from eco2.core.storage import ObjectTooLarge, Storage

Inspect = Callable[[bytes], Awaitable[tuple[bytes, str]]]
"""An upload → (the copy that may be public, its content type); `eco2.photos.pool.Decoders.inspect` does it."""


async def take(storage: Storage, key: str, inspect: Inspect) -> tuple[bytes, str] | None:
    """(public photo, content type) of `key`, published if it is not yet; None when nothing was uploaded.

    An upload that is no photo within the limits is deleted and refused with the errors of `eco2.photos.check`. The
    owner may have left meanwhile: the caller checks afterwards that the photo is still wanted, or deletes it
    if not.
    """
    try:
        upload = await _checked_upload(storage, key, inspect)
    except (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken):
        await storage.uploads.delete([key])
        published = await _published(storage, key)
        if published is None:
            raise
        return published  # the refused file replaced the photo that was checked
    if upload is not None and await storage.public.create(key, *upload):
        return upload
    return await _published(storage, key)


async def put(storage: Storage, key: str, checked: tuple[bytes, str]) -> tuple[bytes, str]:
    """Publish what `Inspect` gave, of bytes that no client uploaded; (public photo, content type), which is the first
    that was published there."""
    if await storage.public.create(key, *checked):
        return checked
    return await _published(storage, key) or checked


async def _checked_upload(storage: Storage, key: str, inspect: Inspect) -> tuple[bytes, str] | None:
    try:
        data = await storage.uploads.get(key, photos.MAX_BYTES)
    except ObjectTooLarge:
        raise photos.PhotoTooLarge from None
    return None if data is None else await inspect(data)


async def _published(storage: Storage, key: str) -> tuple[bytes, str] | None:
    data = await storage.public.get(key, photos.MAX_BYTES)
    return None if data is None else (data, photos.sniff(data))
