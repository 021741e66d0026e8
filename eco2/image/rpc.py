"""gRPC services of image-api: export and removal of a user's uploads; checked photos for other services."""

from functools import partial
from uuid import UUID

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.pb import image_pb2 as pb
from eco2.contracts.pb.image_pb2_grpc import ImageServiceServicer, add_ImageServiceServicer_to_server
from eco2.core import cursors, user_data
from eco2.core.errors import BadRequest
from eco2.core.grpc import Register, uuid_of
from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.image import service, store
from eco2.photos.reissue import reissue

PAGE = 200
IMAGES = "eco2.image.v1.ImageService"
REFUSALS = (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken)
LONGEST_NAME = 200


def user_data_of(db: Database, storage: Storage, secret: str) -> Register:
    async def export(user: UUID, cursor: str) -> tuple[user_data.Records, str]:
        after = cursors.decode(cursor) if cursor else None
        rows = await store.page(db, user, after, PAGE)
        records = [("uploads", _record(storage, upload) | {"created_at": at}) for upload, at in rows]
        return records, cursors.encode(rows[-1][1], rows[-1][0].key) if len(rows) == PAGE else ""

    return user_data.register(export, partial(purge, db, storage), partial(claim, db, storage, secret))


async def purge(db: Database, storage: Storage, user: UUID) -> int:
    """The objects first: a row that is left finds its object again, an object without a row is never found.

    And once more after the rows: a photo may be published in between. Who publishes one later misses the row.
    """
    removed = 0
    while True:
        keys = await store.keys_of(db, user, PAGE)
        await storage.delete(keys)
        await store.forget(db, keys)
        await storage.delete(keys)
        removed += len(keys)
        if len(keys) < PAGE:
            return removed


async def claim(db: Database, storage: Storage, secret: str, guest: UUID, user: UUID) -> int:
    """Copy the photo, then change the row. Who shows a photo, or the cleanup, deletes it under its old key."""
    claimed = 0
    while keys := await store.keys_of(db, guest, PAGE):
        for key in keys:
            claimed += await store.give(db, key, await reissue(storage, secret, user, key), guest, user)
    return claimed


def _record(storage: Storage, upload: store.Upload) -> dict[str, object]:
    return {
        "key": upload.key,
        "url": storage.public_url(upload.key),
        "channel": upload.channel,
        "content_type": upload.content_type,
        "metadata": upload.metadata,
    }


class BadChannel(BadRequest):
    """The channel is one of chat, scan, my."""

    code = "INVALID_CHANNEL"


class KeyRequired(BadRequest):
    """Name what you store by an idempotency key, of 200 characters at most."""

    code = "IDEMPOTENCY_KEY_REQUIRED"


class Images(ImageServiceServicer):
    def __init__(self, services: service.Services) -> None:
        self._services = services
        self._db, self._storage, self._secret = services.db, services.storage, services.upload_secret

    async def Publish(self, request: pb.PublishRequest, _context: object) -> pb.PublishResponse:  # noqa: N802 - of the protocol
        user = uuid_of(request.user_id, user_data.BAD_ID)
        channel = uploads.key_channel(request.key)
        if channel is None:
            raise service.UploadNotFound
        await service.find_own(self._db, self._secret, user, channel, request.key)
        try:
            checked = await service.check(self._storage, self._services.decoders, user, request.key)
        except REFUSALS as error:
            raise BadRequest(error.message, code=error.code) from error
        await service.complete(self._db, self._storage, request.key, checked)
        return pb.PublishResponse(url=self._storage.public_url(request.key), content_type=checked.content_type)

    async def UploadBytes(self, request: pb.UploadBytesRequest, _context: object) -> pb.UploadBytesResponse:  # noqa: N802 - of the protocol
        user, key = self._named(request)
        try:
            return self._shown(
                await service.keep(self._services, user, key, request.image_data, dict(request.metadata))
            )
        except REFUSALS as error:
            raise BadRequest(error.message, code=error.code) from error

    async def FindUpload(self, request: pb.FindUploadRequest, _context: object) -> pb.UploadBytesResponse:  # noqa: N802 - of the protocol
        _, key = self._named(request)
        upload = await service.kept(self._services, key)
        if upload is None:
            raise service.UploadNotFound
        return self._shown(upload)

    def _named(self, request: pb.UploadBytesRequest | pb.FindUploadRequest) -> tuple[UUID, str]:
        """(user, key of the object)"""
        user = uuid_of(request.uploader_id, user_data.BAD_ID)
        channel = next((one for one in uploads.CHANNELS if one == request.channel), None)
        if channel is None:
            raise BadChannel
        if not 0 < len(request.idempotency_key) <= LONGEST_NAME:
            raise KeyRequired
        return user, uploads.derived_key(self._secret, str(user), channel, request.idempotency_key)

    def _shown(self, upload: store.Upload) -> pb.UploadBytesResponse:
        url = self._storage.public_url(upload.key)
        return pb.UploadBytesResponse(key=upload.key, cdn_url=url, content_type=upload.content_type)


def images_of(services: service.Services) -> Register:
    return partial(add_ImageServiceServicer_to_server, Images(services))
