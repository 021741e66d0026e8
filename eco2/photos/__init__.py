"""Photos that users upload: accepted formats and limits, bounded decoding, removal of metadata, the checked copy that
is public. Pillow is imported by `eco2.photos.reading` only."""

from eco2.photos.check import (
    CONTENT_TYPES,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    PhotoBroken,
    PhotoInfo,
    PhotoTooLarge,
    PhotoTypeRefused,
    sniff,
)
from eco2.photos.declared import extension, photo_type

__all__ = [
    "CONTENT_TYPES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "PhotoBroken",
    "PhotoInfo",
    "PhotoTooLarge",
    "PhotoTypeRefused",
    "extension",
    "photo_type",
    "sniff",
]
