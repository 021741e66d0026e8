"""Free disk space of a stack: thresholds for a warning, and for starting no process that writes there."""

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

GB, MB = 1024**3, 1024**2
LOW_BYTES, LOW_FILES = 1 * GB, 2000
"""Below either a person is warned."""
REFUSED_BYTES = 300 * MB
"""Below it the broker takes no new work: new scans are refused, and those at work have room to end."""
HELD_BYTES = 100 * MB
"""Below it an ended server is not started again: one that starts on a full disk can spoil the files it rewrites."""


class Level(IntEnum):
    ENOUGH, LOW, REFUSED, HELD = range(4)


@dataclass(frozen=True)
class Room:
    bytes: int
    files: int | None
    """Number of files that still fit; None: as many as the bytes allow."""

    @property
    def level(self) -> Level:
        few_files = self.files is not None and self.files < LOW_FILES
        if self.bytes < HELD_BYTES or self.files == 0:
            return Level.HELD
        if self.bytes < REFUSED_BYTES:
            return Level.REFUSED
        return Level.LOW if self.bytes < LOW_BYTES or few_files else Level.ENOUGH

    def __str__(self) -> str:
        size = f"{self.bytes / GB:.1f} GB" if self.bytes >= GB else f"{self.bytes // MB} MB"
        return size if self.files is None or self.files >= LOW_FILES else f"{size} and {self.files} files"


_CONSEQUENCE = {
    Level.LOW: f"below {REFUSED_BYTES // MB} MB new scans are refused",
    Level.REFUSED: "new scans are refused until there is more",
    Level.HELD: "new scans are refused, and servers that end are not started again until there is more",
}


def room(folder: Path) -> Room:
    """On the disk of `folder`, or of its future parent, for all users but root."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def warning(folder: Path) -> str | None:
    """A sentence for a person while the room is low."""
    left = room(folder)
    if left.level is Level.ENOUGH:
        return None
    return f"The disk is almost full: {left} left for {folder}; {_CONSEQUENCE[left.level]}. Free some space."
