"""Routes of image-api."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from eco2 import photos
from eco2.contracts.uploads import Channel
from eco2.core.app import AnyUser, BadUser, MissingUser, Text, error_responses, opened
from eco2.core.errors import TooMany
from eco2.core.storage import UPLOAD_TIME, StorageDown
from eco2.image import service
from eco2.image.service import Services
from eco2.photos.pool import DecodersDown

MAX_METADATA = 4096

router = APIRouter(prefix="/api/v1/images", tags=["images"])

At = Annotated[Services, opened(Services)]

_KEY = "scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg"
_CDN_URL = f"https://images.example.org/{_KEY}"
_UPLOAD_URL = f"https://api.example.org/eco2-uploads/{_KEY}"
_ETAG = "9e107d9d372bb6826bd81d3542a419d6"


def _small_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses values that PostgreSQL cannot store as JSON, and excessive ones."""
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError) as error:  # integers past 64 bits, too deep
        raise ValueError(f"cannot be stored: {error}") from error
    if len(text) > MAX_METADATA:
        raise ValueError(f"has {len(text)} bytes; at most {MAX_METADATA} are allowed")
    if b"\\u0000" in text:
        raise ValueError("must not contain the character NUL")
    return value


class UploadRequest(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filename": "bottle.jpg", "content_type": "image/jpeg"}]}
    )

    filename: Annotated[Text, Field(min_length=1, max_length=255)]
    content_type: Annotated[
        str, Field(max_length=255, description="As the client guesses, or empty: the content of the file decides")
    ] = "application/octet-stream"
    uploader_id: UUID | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_small_json)] = Field(default_factory=dict)


class UploadTicket(BaseModel):
    key: Annotated[str, Field(examples=[_KEY])]
    upload_url: Annotated[
        str,
        Field(
            description="PUT the file here, with any Content-Type or none, and no credentials",
            examples=[f"{_UPLOAD_URL}?X-Amz-Signature=3c1f"],
        ),
    ]
    cdn_url: Annotated[
        str,
        Field(
            description="Give this URL to /scan or /chat once the file is uploaded. It shows the checked photo, "
            "without metadata, from its first use on; until then it answers 404",
            examples=[_CDN_URL],
        ),
    ]
    expires_in: Annotated[int, Field(description="Seconds until upload_url ends", examples=[900])]
    required_headers: Annotated[dict[str, str], Field(examples=[{"Content-Type": "image/jpeg"}])]


class UploadCallback(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"key": _KEY}]})

    key: Annotated[str, Field(min_length=3, max_length=512)]
    etag: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Not compared: removing metadata changes it")
    ] = None
    content_length: int | None = None
    checksum: str | None = None


class UploadedImage(BaseModel):
    key: Annotated[str, Field(examples=[_KEY])]
    channel: Annotated[Channel, Field(examples=["scan"])]
    cdn_url: Annotated[str, Field(examples=[_CDN_URL])]
    uploader_id: Annotated[UUID, Field(examples=["7a1f5b52-9d3c-4c1e-8f7a-2b6d0c9e4f10"])]
    metadata: Annotated[dict[str, Any], Field(description="As given with the ticket", examples=[{}])]
    etag: Annotated[str, Field(description="ETag of the public copy", examples=[_ETAG])]
    content_type: Annotated[str, Field(examples=["image/jpeg"])]


_PHOTO_ERRORS = (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken)


@router.post(
    "/{channel}",
    operation_id="createUpload",
    response_model=UploadTicket,
    summary="Get a URL for uploading one photo",
    responses=error_responses(
        MissingUser,
        BadUser,
        photos.PhotoTypeRefused,
        service.UploaderMismatch,
        service.TooManyTickets,
        TooMany,
    ),
)
async def start(channel: Channel, body: UploadRequest, user: AnyUser, at: At) -> UploadTicket:
    """The file goes straight to the object store: PUT it to `upload_url` within `expires_in` seconds.

    A user gets a limited number a minute; a 429 has the seconds until the next one in `Retry-After`."""
    if body.uploader_id not in (None, user):
        raise service.UploaderMismatch
    async with at.turns.turn(user):
        service.may_ask(at.closed, user)
        ticket = await service.start(
            at.db,
            at.storage,
            at.upload_secret,
            user,
            channel,
            body.filename,
            body.content_type,
            body.metadata,
            at.tickets_per_minute,
            at.closed,
        )
    return UploadTicket(
        key=ticket.key,
        upload_url=ticket.upload_url,
        cdn_url=ticket.cdn_url,
        expires_in=int(UPLOAD_TIME.total_seconds()),
        required_headers={"Content-Type": ticket.content_type},
    )


@router.post(
    "/{channel}/callback",
    operation_id="completeUpload",
    response_model=UploadedImage,
    summary="Complete an upload",
    responses=error_responses(
        MissingUser,
        BadUser,
        service.UploadNotFound,
        service.ChannelMismatch,
        service.UploaderMismatch,
        *_PHOTO_ERRORS,
        StorageDown,
        DecodersDown,
    ),
)
async def complete(channel: Channel, body: UploadCallback, user: AnyUser, at: At) -> UploadedImage:
    """Checks that the file is there and is a photo within the limits, and publishes it without metadata (EXIF, GPS).

    At most 15 MB, 16,384 pixels on the longer side and 64 megapixels; WebP at most 33, HEIC and GIF 58 megapixels (what
    decodes within the memory of a photo). Of an animation the first frame is kept."""
    upload = await service.find_own(at.db, at.upload_secret, user, channel, body.key)
    checked = await service.check(at.storage, at.decoders, user, body.key)
    await service.complete(at.db, at.storage, body.key, checked)
    return UploadedImage(
        key=upload.key,
        channel=channel,
        cdn_url=at.storage.public_url(upload.key),
        uploader_id=upload.user_id,
        metadata=upload.metadata,
        etag=checked.etag,
        content_type=checked.content_type,
    )
