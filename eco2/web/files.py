"""The built files of the web app, their compression and caching."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

MANIFEST = "manifest.json"
SHELL = "index.html"
IMMUTABLE, REVALIDATED = "public, max-age=31536000, immutable", "no-cache"
"""A file whose name has the digest of its content never changes; any other is asked for again, by its ETag."""


class NotBuilt(Exception):
    """The page is not built: run `make web`."""


@dataclass(frozen=True)
class File:
    """One file in every encoding it is kept in; "" is the plain one."""

    content_type: str
    etag: str
    cache_control: str
    bodies: Mapping[str, bytes]

    def encoded(self, accepted: str) -> tuple[str, bytes]:
        """The smallest encoding that the browser takes."""
        offered = encodings(accepted)
        usable = [name for name in self.bodies if not name or name in offered]
        best = min(usable, key=lambda name: len(self.bodies[name]))
        return best, self.bodies[best]


def encodings(accepted: str) -> set[str]:
    """Names in an Accept-Encoding header, without those that it refuses."""
    rows = [part.strip().lower().replace(" ", "").partition(";") for part in accepted.split(",")]
    return {name for name, _, rest in rows if name and rest not in ("q=0", "q=0.0", "q=0.00", "q=0.000")}


def load(folder: Path) -> dict[str, File]:
    """Path → file, all in memory: they are some 300 kB. NotBuilt where the folder has none."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        return {path: _file(folder, row) for path, row in manifest["files"].items()}
    except FileNotFoundError as error:
        raise NotBuilt(f"{NotBuilt.__doc__} ({error.filename} is missing)") from None


def _file(folder: Path, row: Mapping[str, object]) -> File:
    names = row["encodings"]
    assert isinstance(names, dict)
    return File(
        content_type=str(row["type"]),
        etag=str(row["etag"]),
        cache_control=IMMUTABLE if row["immutable"] else REVALIDATED,
        bodies={encoding: (folder / name).read_bytes() for encoding, name in names.items()},
    )
