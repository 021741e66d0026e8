"""Test photos, made in memory."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# Of Seoul's city hall: what must not survive an upload.
_LATITUDE, _LONGITUDE = (37.0, 33.0, 59.0), (126.0, 58.0, 41.0)
SECRETS = (b"37.5665", b"Secret Phone", b"secret comment", b"<script>")


def picture(width: int = 96, height: int = 64, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise over a gradient, the left half darker: never the same twice for two seeds, and its sides can be told."""
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    ramp = np.linspace(0, 200, width)[None, :, None]
    return Image.fromarray((noise + ramp).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(out, quality=80, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def jpeg(width: int = 96, height: int = 64, **options: Any) -> bytes:
    return encoded(picture(width, height), "JPEG", **options)


def heic(width: int = 96, height: int = 64, **options: Any) -> bytes:
    return encoded(picture(width, height), "HEIF", **options)


def animated(kind: str, frames: int = 3) -> bytes:
    first, *rest = (picture(seed=n) for n in range(frames))
    return encoded(first, kind, save_all=True, append_images=rest, duration=50, loop=0)


def exif(orientation: int = 1) -> bytes:
    """With GPS, a device name and the given orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x0110] = "Secret Phone"
    block.get_ifd(0x8825).update({1: "N", 2: _LATITUDE, 3: "E", 4: _LONGITUDE})
    return block.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><gps>37.5665</gps></x:xmpmeta>'


def with_metadata(kind: str, orientation: int = 1) -> bytes:
    """A photo of the kind with GPS in EXIF, XMP and a comment, as far as the format has them."""
    block = exif(orientation)
    makers: dict[str, Callable[[], bytes]] = {
        "JPEG": lambda: jpeg(exif=block, xmp=XMP, comment=b"secret comment") + b"secret comment after the end",
        "PNG": lambda: encoded(picture(), "PNG", exif=block, pnginfo=_png_text()),
        "WEBP": lambda: encoded(picture(), "WEBP", exif=block, xmp=XMP, lossless=True),
        "GIF": lambda: encoded(picture(), "GIF", comment=b"secret comment"),
        "HEIF": lambda: heic(exif=block, xmp=XMP),
    }
    return makers[kind]()


def _png_text() -> PngInfo:
    text = PngInfo()
    text.add_text("Comment", "secret comment")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return text


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces its size in a valid header, and little else: its picture data is a few zero bytes."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    """A WebP whose canvas is announced as large; the picture in it is small."""
    small = encoded(picture(), "WEBP")[12:]
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + small
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_with_html() -> bytes:
    """A valid GIF that is also a web page for a browser that guesses."""
    return with_metadata("GIF").replace(b"secret comment", b"<script>e()/**") + b"<script>alert(1)</script>"


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF"
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
