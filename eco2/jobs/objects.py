"""The private bucket of reports and backups."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import obstore
from obstore.exceptions import BaseError, NotFoundError

from eco2.core.errors import Unavailable
from eco2.core.settings import OpsStorageSettings
from eco2.core.storage import s3_store

LIST_CHUNK = 1000


class OpsStoreDown(Unavailable):
    """The bucket of reports and backups cannot be read or written; try again."""

    code = "OPS_STORE_UNAVAILABLE"


@dataclass(frozen=True)
class Found:
    """`size` in bytes."""

    key: str
    size: int
    modified: datetime


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """OpsStoreDown with the reason that the store gave, as far as it gave one; that something is not there passes."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise
    except (BaseError, OSError) as error:
        reason = " ".join(str(error).partition("Debug source")[0].split())[:400]
        raise OpsStoreDown(f"The object store refused {what}: {reason}") from error


class OpsStore:
    """Methods raise OpsStoreDown. Blocking: `raw`, for streams in a thread of their own."""

    def __init__(self, settings: OpsStorageSettings) -> None:
        self.raw = s3_store(settings, settings.storage_endpoint, settings.ops_bucket)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        with refusals(f"to take {key}"):
            await obstore.put_async(self.raw, key, data, attributes={"Content-Type": content_type})

    async def get(self, key: str) -> bytes | None:
        """None when there is no such object."""
        try:
            with refusals(f"to give {key}"):
                return bytes(await (await obstore.get_async(self.raw, key)).bytes_async())
        except (NotFoundError, FileNotFoundError):
            return None

    async def delete(self, key: str) -> None:
        with refusals(f"to delete {key}"):
            await obstore.delete_async(self.raw, key)

    async def listed(self, prefix: str) -> list[Found]:
        """By key."""
        found: list[Found] = []
        with refusals(f"to list {prefix}"):
            async for chunk in obstore.list(self.raw, prefix, chunk_size=LIST_CHUNK):
                found += [Found(row["path"], row["size"], row["last_modified"]) for row in chunk]
        return sorted(found, key=lambda row: row.key)
