"""Object storage (S3): presigned uploads for clients, reads and checks for services.

Two views of one bucket: services talk to `storage_endpoint`; URLs are signed for `storage_public_endpoint`,
the host that clients see, since a signature binds the host.
"""

from dataclasses import dataclass
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from eco2.core.errors import AppError, Unavailable
from eco2.core.settings import StorageSettings

UPLOAD_TIME = timedelta(minutes=15)


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


class Storage:
    """The bucket of a process. Every method raises StorageDown when the store is away."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._store = s3_store(settings, settings.storage_endpoint, settings.storage_bucket)
        self._public = s3_store(settings, settings.storage_public_endpoint, settings.storage_bucket)

    async def upload_url(self, key: str) -> str:
        """URL for one PUT of `key`; the signature binds the host and nothing else, for UPLOAD_TIME."""
        return await obstore.sign_async(self._public, "PUT", key, UPLOAD_TIME)

    def public_url(self, key: str) -> str:
        return f"{self._settings.cdn_base_url.rstrip('/')}/{key}"

    def key_of(self, url: str) -> str | None:
        """The object key that a public URL names; None for any other URL, so that nothing foreign is ever fetched."""
        base = self._settings.cdn_base_url.rstrip("/") + "/"
        return url.removeprefix(base) if url.startswith(base) else None

    async def head(self, key: str) -> ObjectInfo | None:
        """None when there is no such object."""
        try:
            meta = await obstore.head_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return None
        except BaseError as error:
            raise StorageDown from error
        return ObjectInfo((meta["e_tag"] or "").strip('"'), meta["size"])

    async def get(self, key: str, limit: int) -> bytes | None:
        """The whole object; None when there is none. ObjectTooLarge past `limit` bytes, before they are read."""
        try:
            result = await obstore.get_async(self._store, key)
            if result.meta["size"] > limit:
                raise ObjectTooLarge
            return bytes(await result.bytes_async())
        except (NotFoundError, FileNotFoundError):
            return None
        except BaseError as error:
            raise StorageDown from error

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        try:
            await obstore.put_async(self._store, key, data, attributes={"Content-Type": content_type})
        except BaseError as error:
            raise StorageDown from error

    async def delete(self, key: str) -> None:
        """Deletes the object if it is there."""
        try:
            await obstore.delete_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise StorageDown from error

    async def ping(self) -> None:
        """Raises StorageDown when the store does not answer."""
        await self.head("ping")
