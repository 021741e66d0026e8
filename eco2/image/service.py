"""Presigned uploads: a URL for one PUT, and the check of what was put there."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.uploads import Channel
from eco2.core.errors import BadRequest, NotFound, TooMany
from eco2.core.storage import Storage
from eco2.image import store
from eco2.photos import published


class UploadNotFound(NotFound):
    """There is no such upload; ask for an upload URL first and PUT the file to it."""

    code = "UPLOAD_NOT_FOUND"


class ChannelMismatch(BadRequest):
    """The key belongs to another channel."""

    code = "CHANNEL_MISMATCH"


class UploaderMismatch(NotFound):
    """The upload belongs to another user."""

    code = "UPLOADER_MISMATCH"


class TooManyTickets(TooMany):
    """짧은 시간에 사진을 너무 많이 올렸어요. 잠시 뒤에 다시 올려 주세요."""

    code = "TOO_MANY_TICKETS"


@dataclass(frozen=True)
class Ticket:
    """Where to PUT the file, and the URL it will be found at."""

    key: str
    upload_url: str
    cdn_url: str


def content_type_of(declared: str, filename: str) -> str:
    """The accepted type that was declared, or that the file name tells when the client declared none."""
    declared = declared.partition(";")[0].strip().lower()
    if declared in ("", "application/octet-stream"):
        suffix = PurePosixPath(filename).suffix.lower().removeprefix(".").replace("jpeg", "jpg")
        declared = next((mime for mime, ext in photos.CONTENT_TYPES.items() if ext == suffix), declared)
    if declared not in photos.CONTENT_TYPES:
        accepted = ", ".join(photos.CONTENT_TYPES)
        raise photos.PhotoTypeRefused(f"{declared or filename!r} is not a photo we can read; send one of {accepted}.")
    return declared


async def start(
    tx: AsyncConnection,
    storage: Storage,
    secret: str,
    user: UUID,
    channel: Channel,
    filename: str,
    declared: str,
    metadata: dict[str, Any],
    most_per_minute: int,
) -> Ticket:
    """Note the upload and sign its URL. TooManyTickets past `most_per_minute`."""
    content_type = content_type_of(declared, filename)
    key = uploads.new_key(secret, str(user), channel, photos.CONTENT_TYPES[content_type])
    if wait := await store.add(tx, key, user, channel, filename, content_type, metadata, most_per_minute):
        raise TooManyTickets(retry_after=wait)
    return Ticket(key, await storage.upload_url(key), storage.public_url(key))


async def find_own(tx: AsyncConnection, secret: str, user: UUID, channel: Channel, key: str) -> store.Upload:
    actual = uploads.key_channel(key)
    upload = await store.find(tx, key) if actual else None
    if upload is None:
        raise UploadNotFound
    if not uploads.owns(secret, str(user), key):
        raise UploaderMismatch
    if actual != channel:
        raise ChannelMismatch
    return upload


@dataclass(frozen=True)
class Checked:
    """An object that turned out to be a photo; `size` in bytes, as it is stored now."""

    content_type: str
    etag: str
    size: int


async def check(storage: Storage, key: str) -> Checked:
    """The object is there, it is a photo within the limits; its metadata (EXIF, GPS) is removed.

    What is no such photo is deleted and refused (the errors of `eco2.photos.check`).
    """
    taken = await published.take(storage, key)
    info = await storage.head(key) if taken else None
    if taken is None or info is None:
        raise UploadNotFound("The file has not been uploaded yet; PUT it to upload_url first.")
    return Checked(taken[1], info.etag, info.size)


async def complete(tx: AsyncConnection, key: str, checked: Checked) -> None:
    await store.complete(tx, key, checked.content_type, checked.etag, checked.size)
