"""Requests to a decoding process about one photo, and its answers."""

from dataclasses import dataclass
from typing import NamedTuple

from eco2.photos.check import PhotoInfo


class Jpeg(NamedTuple):
    """A small copy for a paid model. `shorter`: pixels of the shorter side that are decoded at least."""

    longest: int
    shorter: int
    quality: int


@dataclass(frozen=True)
class Wanted:
    """`checked`: the photo is a checked copy already. The rest are views of it; 0 and None: not wanted."""

    checked: bool = False
    grey: int = 0
    """Side of the grey square that the perceptual hash is made of."""
    square: int = 0
    """Side of the RGB square that the embedded model sees."""
    jpeg: Jpeg | None = None

    @property
    def views(self) -> bool:
        return bool(self.grey or self.square or self.jpeg)

    @property
    def side(self) -> int:
        """Pixels that the shorter side has to have after decoding."""
        return max(self.grey, self.square, self.jpeg.shorter if self.jpeg else 0)


@dataclass(frozen=True)
class Opened:
    """`info` is None of a photo that was checked before. `clean`: the copy that may be public, `data` itself where
    nothing had to be removed. The views are empty where they were not wanted."""

    info: PhotoInfo | None
    clean: bytes
    grey: bytes = b""
    square: bytes = b""
    jpeg: bytes = b""
