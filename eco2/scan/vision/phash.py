"""Perceptual hash of a photo: 256 bits that change little when the photo is scaled, recompressed or slightly edited.

The sign, against the median, of the 16 by 16 lowest frequencies of the 64 by 64 grey image (the DCT hash of Zauner,
2010, as the library ImageHash computes it; written here because that library brings all of SciPy into every worker).
"""

import numpy as np

SIDE = 64
LOW = 16
BITS = LOW * LOW

_WAVES = np.cos(np.pi * (2 * np.arange(SIDE)[None, :] + 1) * np.arange(LOW)[:, None] / (2 * SIDE))


def phash(grey: bytes) -> int:
    """Hash of a photo by its grey square of SIDE pixels (`eco2.photos.views.Wanted.grey`): how far the photo was
    reduced in decoding changes a few bits."""
    pixels = np.frombuffer(grey, np.uint8).reshape(SIDE, SIDE).astype(np.float64)
    low = _WAVES @ pixels @ _WAVES.T
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def hexadecimal(value: int) -> str:
    """The form in which a hash is stored and sent: 64 digits."""
    return f"{value:0{BITS // 4}x}"
