"""Pictures of turns, stored by image-api as photos of the user.

A picture is named after the message that asked for it: a turn that is delivered again, or retried by its user,
finds the one that was paid for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from eco2.contracts.pb import image_pb2 as pb
from eco2.contracts.pb.image_pb2_grpc import ImageServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest, NotFound
from eco2.messaging.broker import ride_out

if TYPE_CHECKING:
    from eco2.contracts.pb.image_pb2_grpc import ImageServiceAsyncStub

CHANNEL = "chat"
MOST_BYTES = 4_000_000
"""A message of gRPC has 4 MB; a picture as it is asked for has a tenth of it."""
STORE_SECONDS = 12.0


@dataclass(frozen=True)
class PictureOf:
    """The picture of one message."""

    images: "ImageServiceAsyncStub"
    user: UUID
    message: UUID

    async def find(self) -> str:
        """Key of the picture; "" where there is none. Unavailable."""
        wanted = pb.FindUploadRequest(channel=CHANNEL, uploader_id=str(self.user), idempotency_key=self._name)
        try:
            found: pb.UploadBytesResponse = await grpc.call(self.images.FindUpload, wanted)
        except NotFound:
            return ""
        return found.key

    async def keep(self, data: bytes) -> str:
        """Key of the picture. It is paid for: an outage is waited out. AppError where it is not taken."""
        if len(data) > MOST_BYTES:
            raise BadRequest(
                f"The picture has {len(data)} bytes; at most {MOST_BYTES} are kept.", code="PICTURE_TOO_LARGE"
            )
        request = pb.UploadBytesRequest(
            channel=CHANNEL,
            image_data=data,
            content_type="image/jpeg",
            uploader_id=str(self.user),
            metadata={"generated": "true"},
            idempotency_key=self._name,
        )

        async def upload() -> pb.UploadBytesResponse:
            return await grpc.call(self.images.UploadBytes, request, STORE_SECONDS)

        return (await ride_out(upload)).key

    @property
    def _name(self) -> str:
        return f"picture of {self.message}"


@dataclass(frozen=True)
class Gallery:
    images: "ImageServiceAsyncStub"

    def of(self, user: UUID, message: UUID) -> PictureOf:
        return PictureOf(self.images, user, message)


@asynccontextmanager
async def open_gallery(address: str, secret: str | None) -> AsyncIterator[Gallery]:
    async with grpc.channel(address, secret) as channel:
        yield Gallery(ImageServiceStub(channel))
