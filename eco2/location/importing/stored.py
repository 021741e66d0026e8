"""Files that stewards put into the platform's private bucket, for an import where there is no disk of theirs.

An address is `s3://BUCKET/imports/FILE` with the bucket of ECO2_OPS_BUCKET: it says which file, never whom to ask.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from eco2.core.errors import BadRequest
from eco2.core.settings import OpsStorageSettings
from eco2.core.storage import Bucket, ObjectTooLarge, s3_store
from eco2.location.importing import loading
from eco2.location.importing.files import FileRefused
from eco2.location.importing.loading import Order, Progress, Report
from eco2.location.settings import StoredImportSettings

SCHEME, FOLDER = "s3://", "imports/"
LARGEST = 1 << 30
LONGEST_STEM = 170
"""Letters of a file's name in that of its report, which has to be a name here itself."""
CSV = "text/csv; charset=utf-8"
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,200}")


class AddressRefused(BadRequest):
    """Files to import lie in the folder imports/ of the private bucket."""

    code = "IMPORT_ADDRESS_REFUSED"


def is_address(text: str) -> bool:
    return "://" in text


@dataclass(frozen=True)
class Stored:
    """A file in the bucket. `name` is that of the file, without its folder."""

    bucket: str
    name: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{FOLDER}{self.name}"

    @property
    def key(self) -> str:
        return FOLDER + self.name

    def report(self, at: datetime) -> "Stored":
        """Report of an import at that time: beside the file, and never in place of an earlier one."""
        return Stored(self.bucket, f"{self.name.removesuffix('.csv')[:LONGEST_STEM]}.report-{at:%Y%m%dT%H%M%SZ}.csv")


def address(text: str) -> Stored:
    """AddressRefused: of another form."""
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    name = key.removeprefix(FOLDER)
    fits = text.startswith(SCHEME) and bucket and key.startswith(FOLDER)
    if not fits or not _NAME.fullmatch(name) or name.startswith("."):
        raise AddressRefused(
            f"{text[:200]!r} is no address of a file to import; write {SCHEME}BUCKET/{FOLDER}FILE.csv."
        )
    return Stored(bucket, name)


class Shelf:
    """The folder of the bucket. StorageDown."""

    def __init__(self, settings: OpsStorageSettings) -> None:
        self._name = settings.ops_bucket
        self._bucket = Bucket(s3_store(settings, settings.storage_endpoint, settings.ops_bucket))

    def find(self, text: str) -> Stored:
        """AddressRefused: of another form, or of a bucket that is not ours."""
        found = address(text)
        if found.bucket != self._name:
            raise AddressRefused(f"Files are read from the bucket {self._name}, not from {found.bucket}.")
        return found

    async def put(self, file: Path, name: str = "") -> Stored:
        """Keep a file under its name, or another. A file of that name is replaced."""
        stored = address(f"{SCHEME}{self._name}/{FOLDER}{name or file.name}")
        await self._bucket.upload(stored.key, file, CSV)
        return stored

    @asynccontextmanager
    async def fetched(self, stored: Stored) -> AsyncIterator[Path]:
        """The file under its name on this machine's disk, as long as the block. FileRefused: missing, or too large."""
        with TemporaryDirectory(prefix="eco2-import-") as folder:
            path = Path(folder) / stored.name
            try:
                there = await self._bucket.download(stored.key, path, LARGEST)
            except ObjectTooLarge:
                raise FileRefused(f"{stored} is larger than {LARGEST >> 20} MB.") from None
            except OSError as error:
                raise FileRefused(f"{stored} has no room on this machine's disk: {error.strerror}.") from None
            if not there:
                raise FileRefused(f"There is no file {stored}.")
            yield path


async def load(
    settings: StoredImportSettings,
    text: str,
    order: Callable[[Path], Order],
    progress: Callable[[Progress], None] | None,
    kept: Callable[[Stored], None],
) -> Report:
    """Import the file of that address. The report lies beside it before anything is changed; `kept` is told where."""
    shelf = Shelf(settings)
    stored = shelf.find(text)
    report = stored.report(datetime.now(UTC))

    async def keep(file: Path) -> None:
        kept(await shelf.put(file, report.name))

    async with shelf.fetched(stored) as path:
        return await loading.load(settings.database_url, order(path), path.with_name(report.name), progress, keep)
