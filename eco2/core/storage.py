"""Object storage (S3): presigned uploads for clients, reads and checks for services.

Services talk to `storage_endpoint`; upload URLs name `storage_public_endpoint`, the host that clients see, and are
signed for the host that the store is asked under, since a signature binds it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from eco2.core.errors import AppError, Unavailable
from eco2.core.settings import StorageSettings

UPLOAD_TIME = timedelta(minutes=15)
LIST_CHUNK = 1000
PART_BYTES = 8 * 1024 * 1024


class StorageDown(Unavailable):
    """The object store does not answer; try again."""

    code = "STORAGE_UNAVAILABLE"


class ObjectTooLarge(AppError):
    """The object is larger than allowed."""

    status = 413
    code = "OBJECT_TOO_LARGE"


@dataclass(frozen=True)
class ObjectInfo:
    """`etag` without quotes, `size` in bytes."""

    etag: str
    size: int


def s3_store(settings: StorageSettings, endpoint: str, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        region=settings.storage_region,
        access_key_id=settings.storage_access_key,
        secret_access_key=settings.storage_secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "20s", "connect_timeout": "3s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
    )


@dataclass(frozen=True)
class Found:
    """A listed object."""

    key: str
    modified: datetime


class Bucket:
    """One bucket. Every method raises StorageDown when the store is away."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def head(self, key: str) -> ObjectInfo | None:
        """None when there is no such object."""
        with _outages():
            try:
                meta = await obstore.head_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return None
        return ObjectInfo((meta["e_tag"] or "").strip('"'), meta["size"])

    async def get(self, key: str, limit: int) -> bytes | None:
        """The whole object; None when there is none. ObjectTooLarge past `limit` bytes, before they are read."""
        with _outages():
            try:
                result = await obstore.get_async(self._store, key)
                if result.meta["size"] > limit:
                    raise ObjectTooLarge
                return bytes(await result.bytes_async())
            except (NotFoundError, FileNotFoundError):
                return None

    async def download(self, key: str, target: Path, limit: int) -> bool:
        """Write the object into a file, a part in memory at a time; False where there is none.

        ObjectTooLarge past `limit` bytes, before they are read. StorageDown also when it is replaced meanwhile: each
        part is a request of its own, since one for all would have to end within the time that any request is given.
        """
        with _outages():
            try:
                meta = await obstore.head_async(self._store, key)
                if meta["size"] > limit:
                    raise ObjectTooLarge
                with target.open("wb") as file:
                    for start in range(0, meta["size"], PART_BYTES):
                        end = min(start + PART_BYTES, meta["size"])
                        options: Any = {"range": (start, end), "if_match": meta["e_tag"]}
                        part = await obstore.get_async(self._store, key, options=options)
                        await asyncio.to_thread(file.write, await part.bytes_async())
            except (NotFoundError, FileNotFoundError):
                return False
        return True

    async def upload(self, key: str, source: Path, content_type: str) -> None:
        """The file as an object, a few parts in memory at a time; whole or not at all."""
        with _outages():
            await obstore.put_async(self._store, key, source, attributes={"Content-Type": content_type})

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        with _outages():
            await obstore.put_async(self._store, key, data, attributes={"Content-Type": content_type})

    async def create(self, key: str, data: bytes, content_type: str) -> bool:
        """False, and nothing changed, where there is such an object already; of several at once one creates it."""
        with _outages():
            try:
                attributes = {"Content-Type": content_type}
                await obstore.put_async(self._store, key, data, attributes=attributes, mode="create")
            except AlreadyExistsError:
                return False
        return True

    async def copy(self, key: str, to: str) -> None:
        """Nothing where there is no such object."""
        with _outages():
            try:
                await obstore.copy_async(self._store, key, to)
            except (NotFoundError, FileNotFoundError):
                return

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that are there."""
        with _outages():
            try:
                await obstore.delete_async(self._store, list(keys))
            except (NotFoundError, FileNotFoundError):
                return

    async def listed(self, prefix: str) -> AsyncIterator[list[Found]]:
        """All objects below the folder `prefix`, by key, some at a time."""
        with _outages():
            async for chunk in obstore.list(self._store, prefix, chunk_size=LIST_CHUNK):
                yield [Found(row["path"], row["last_modified"]) for row in chunk]


@contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StorageDown from error


class Storage:
    """Photos in two buckets, under the same keys.

    `uploads`: as clients sent them; only the platform reads it. `public`: checked copies, publicly readable and
    `eco2.photos.published` alone writes.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self.public = Bucket(s3_store(settings, settings.storage_endpoint, settings.storage_bucket))
        self.uploads = Bucket(s3_store(settings, settings.storage_endpoint, settings.upload_bucket))
        self._signed_endpoint = settings.storage_signed_endpoint or settings.storage_public_endpoint
        self._signer = s3_store(settings, self._signed_endpoint, settings.upload_bucket)

    async def upload_url(self, key: str) -> str:
        """URL to PUT `key` to; the signature binds the host and no other header, for UPLOAD_TIME."""
        url = await obstore.sign_async(self._signer, "PUT", key, UPLOAD_TIME)
        public = self._settings.storage_public_endpoint.rstrip("/")
        return public + url.removeprefix(self._signed_endpoint.rstrip("/"))

    def public_url(self, key: str) -> str:
        return f"{self._settings.cdn_base_url.rstrip('/')}/{key}"

    def key_of(self, url: str) -> str | None:
        """The object key that a public URL names; None for any other URL, so that nothing foreign is ever fetched."""
        base = self._settings.cdn_base_url.rstrip("/") + "/"
        return url.removeprefix(base) if url.startswith(base) else None

    async def find(self, key: str) -> ObjectInfo | None:
        """Read the upload or, when that has expired, its checked copy. None when there is neither."""
        return await self.uploads.head(key) or await self.public.head(key)

    async def delete(self, keys: Sequence[str]) -> None:
        """Photos with everything that is kept of them."""
        if keys:
            await asyncio.gather(self.public.delete(keys), self.uploads.delete(keys))

    async def ping(self) -> None:
        """Raises StorageDown when the store does not answer."""
        await self.public.head("ping")
