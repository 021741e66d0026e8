"""Type of a photo by its declaration and the name of its file."""

import pytest

from eco2 import photos
from eco2.photos.declared import UNKNOWN


@pytest.mark.parametrize(
    ("declared", "filename", "kind"),
    [
        ("image/jpeg", "a", "image/jpeg"),
        ("image/jpg", "IMG_0001.HEIC", "image/jpeg"),
        ("IMAGE/JPEG; charset=binary", "a", "image/jpeg"),
        ("image/pjpeg", "", "image/jpeg"),
        ("image/x-png", "", "image/png"),
        ("image/heic", "a.jpg", "image/heic"),
        ("", "IMG_0001.HEIC", "image/heic"),
        ("", "photo.jfif", "image/jpeg"),
        ("", "photo", UNKNOWN),
        ("  ", "photo.", UNKNOWN),
        ("image/*", "a.webp", "image/webp"),
        ("image/*", "", UNKNOWN),
        ("*/*", "a.gif", "image/gif"),
        ("image/heic-sequence", "a.bin", UNKNOWN),
        ("image/something-new", "", UNKNOWN),
        ("application/octet-stream", "사진.PNG", "image/png"),
        ("application/octet-stream", "photo", UNKNOWN),
        ("binary/octet-stream", "photo.pdf", UNKNOWN),
        ("jpeg", "", "image/jpeg"),
        ("undefined", "a.jpg", "image/jpeg"),
        ("null", "", UNKNOWN),
    ],
)
def test_a_guess_is_taken_and_the_name_helps_out(declared: str, filename: str, kind: str) -> None:
    assert photos.photo_type(declared, filename) == kind
    assert photos.extension(kind).isalpha()


@pytest.mark.parametrize(
    "declared",
    [
        "image/svg+xml",
        "IMAGE/SVG+XML; a=b",
        "image/tiff",
        "application/pdf",
        "text/html",
        "video/mp4",
        "application/zip",
    ],
)
def test_what_is_surely_no_photo_is_refused_before_it_is_sent(declared: str) -> None:
    with pytest.raises(photos.PhotoTypeRefused):
        photos.photo_type(declared, "a.jpg")
