"""Photos that users upload: accepted formats and limits, removal of metadata, and the checked copy that is public."""

from eco2.photos.check import (
    CONTENT_TYPES,
    MAX_BYTES,
    MAX_PIXELS,
    PhotoBroken,
    PhotoInfo,
    PhotoTooLarge,
    PhotoTypeRefused,
    decode,
    inspect,
    sniff,
)
from eco2.photos.declared import extension, photo_type

__all__ = [
    "CONTENT_TYPES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "PhotoBroken",
    "PhotoInfo",
    "PhotoTooLarge",
    "PhotoTypeRefused",
    "decode",
    "extension",
    "inspect",
    "photo_type",
    "sniff",
]
