"""Presigned uploads: a URL for one PUT, and the check of the uploaded file."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.uploads import Channel
from eco2.core.errors import BadRequest, NotFound, TooMany
from eco2.core.postgres import Database, Session
from eco2.core.storage import Storage
from eco2.core.turns import Closed, Turns
from eco2.image import store
from eco2.photos import published
from eco2.photos.pool import Decoders


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
    """URL to PUT the file to, and the one at which the checked photo will be found."""

    key: str
    upload_url: str
    cdn_url: str
    content_type: str


@dataclass(frozen=True)
class Services:
    """Dependencies of image-api."""

    db: Database
    storage: Storage
    decoders: Decoders
    upload_secret: str
    tickets_per_minute: int
    turns: Turns
    closed: Closed = field(default_factory=Closed)


def may_ask(closed: Closed, user: UUID) -> None:
    """TooManyTickets for a user who was refused and is not yet due: a flood does not reach the database."""
    if wait := closed.seconds(user):
        raise TooManyTickets(retry_after=wait)


async def start(
    db: Session,
    storage: Storage,
    secret: str,
    user: UUID,
    channel: Channel,
    filename: str,
    declared: str,
    metadata: dict[str, Any],
    most_per_minute: int,
    closed: Closed,
) -> Ticket:
    """Note the upload and sign its URL. TooManyTickets past `most_per_minute`, which `closed` then remembers."""
    content_type = photos.photo_type(declared, filename)
    key = uploads.new_key(secret, str(user), channel, photos.extension(content_type))
    if wait := await store.add(db, key, user, channel, filename, content_type, metadata, most_per_minute):
        closed.close(user, wait)
        raise TooManyTickets(retry_after=wait)
    return Ticket(key, await storage.upload_url(key), storage.public_url(key), content_type)


async def find_own(db: Session, secret: str, user: UUID, channel: Channel, key: str) -> store.Upload:
    actual = uploads.key_channel(key)
    upload = await store.find(db, key) if actual else None
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


async def check(storage: Storage, decoders: Decoders, user: UUID, key: str) -> Checked:
    """The file was uploaded and is a photo within the limits; its public copy has no metadata (EXIF, GPS).

    What is no such photo is deleted and refused (the errors of `eco2.photos.check`).
    """
    taken = await published.take(storage, key, partial(decoders.inspect, user=user))
    info = await storage.public.head(key) if taken else None
    if taken is None or info is None:
        raise UploadNotFound("The file has not been uploaded yet; PUT it to upload_url first.")
    return Checked(taken[1], info.etag, info.size)


async def kept(services: Services, key: str) -> store.Upload | None:
    """The published photo at `key`; None also where it was removed and its row is about to be."""
    found = await store.find(services.db, key)
    there = found is not None and found.etag is not None and await services.storage.public.head(key)
    return found if there else None


async def keep(services: Services, user: UUID, key: str, data: bytes, metadata: dict[str, Any]) -> store.Upload:
    """The photo at `key`, published where it was not yet. The row comes first: an object without one is never found.

    TooManyTickets, UploadNotFound (the owner left meanwhile), the errors of `eco2.photos.check`."""
    db, storage = services.db, services.storage
    if there := await kept(services, key):
        return there
    channel = uploads.key_channel(key)
    assert channel is not None
    checked = await services.decoders.inspect(data, user)
    if await store.find(db, key) is None:
        most = services.tickets_per_minute
        if wait := await store.add(db, key, user, channel, "", checked[1], metadata, most):
            raise TooManyTickets(retry_after=wait)
    _, content_type = await published.put(storage, key, checked)
    info = await storage.public.head(key)
    if info is None:
        raise UploadNotFound
    await complete(db, storage, key, Checked(content_type, info.etag, info.size))
    return await find_own(db, services.upload_secret, user, channel, key)


async def complete(db: Session, storage: Storage, key: str, checked: Checked) -> None:
    """Note the published photo. UploadNotFound, and no photo, if the owner was deleted during the check."""
    if not await store.complete(db, key, checked.content_type, checked.etag, checked.size):
        await storage.delete([key])
        raise UploadNotFound
