"""Declared types of files before they are sent, which are guesses: the content decides, when it is used first."""

from pathlib import PurePosixPath

from eco2.photos.check import CONTENT_TYPES, PhotoTypeRefused

UNKNOWN = "application/octet-stream"
UNKNOWN_EXTENSION = "img"

_EXTENSIONS = {extension: kind for kind, extension in CONTENT_TYPES.items()} | {
    **dict.fromkeys(("jpeg", "jpe", "jfif", "pjpeg", "pjp"), "image/jpeg"),
    "hif": "image/heif",
}
_NEVER = ("svg+xml", "svg", "tiff", "x-tiff", "bmp", "x-bmp", "x-ms-bmp", "avif", "jxl", "x-icon", "vnd.microsoft.icon")
"""Pictures that no check would let pass."""
_VAGUE = ("octet-stream", "binary", "x-binary", "unknown", "x-unknown", "x-download", "force-download", "*")
"""`application/…` that means no more than bytes."""


def photo_type(declared: str, filename: str = "") -> str:
    """The content type that a declared type or else a file's name tells, or UNKNOWN.

    PhotoTypeRefused: a type that is surely no photo.
    """
    kind = declared.partition(";")[0].strip().lower()
    main, slash, sub = kind.partition("/")
    if slash and _refused(main, sub):
        accepted = ", ".join(CONTENT_TYPES)
        raise PhotoTypeRefused(f"{kind!r} is not a photo we can read; send one of {accepted}.")
    suffix = PurePosixPath(filename).suffix.lower().removeprefix(".")
    told = (_EXTENSIONS.get(name) for name in (sub.removeprefix("x-") or kind, suffix))
    return next(filter(None, told), UNKNOWN)


def extension(content_type: str) -> str:
    """For the key of an object; `content_type` as `photo_type` gives it."""
    return CONTENT_TYPES.get(content_type, UNKNOWN_EXTENSION)


def _refused(main: str, sub: str) -> bool:
    if main == "image":
        return sub in _NEVER
    return main != "*" and not (main in ("application", "binary") and sub in _VAGUE)
