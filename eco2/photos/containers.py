"""Shared by the readers of photo files: errors, bounds, and the orientation, the only part of EXIF that is kept."""

import struct

MAX_PARTS = 20_000
"""Chunks, segments, boxes: a photo of 15 MB in chunks of 1 kB has fewer."""


class Malformed(ValueError):
    """The file does not follow its own format."""


class Refused(ValueError):
    """The file is made so that reading it takes minutes."""


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for n in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * n)
            if tag == 0x0112 and kind == 3:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def orientation_only(exif: bytes) -> bytes:
    """An EXIF block with the orientation of `exif` and nothing else; empty when upright."""
    value = orientation(exif)
    return b"" if value == 1 else b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
