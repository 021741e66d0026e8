"""Photo files with nothing but their still picture: no EXIF, GPS, XMP, IPTC, comments, thumbnails, films, further
frames, chunks of vendors or trailing data.

Works on the container only and never decodes; the picture stays as it is coded, and so do its orientation (JPEG, PNG
and WebP in an EXIF block that holds nothing else, HEIC in its own properties) and what its colours are computed from.
The result is built only from parts that are needed. Hostile input costs at most a few passes over the file.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from eco2.photos import heif, icc
from eco2.photos.containers import MAX_PARTS, Malformed, Refused, orientation_only

MAX_SCANS = 64
"""Of a JPEG: encoders write about 10; each is decoded over the whole photo, so 9,000 would take minutes."""


def strip(content_type: str, data: bytes) -> bytes:
    """The file with its picture alone; equal to `data` where that is all there is. Its end may be missing where the
    format tells where the picture ends. Raises Malformed and Refused."""
    try:
        return _STRIPPERS[content_type](data)
    except (IndexError, struct.error) as error:
        raise Malformed("The file ends too early.") from error


# --- JPEG: marker segments, then entropy-coded data --------------------------------------------------------

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MARKER_AFTER_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_HUFFMAN, _ARITHMETIC, _QUANTIZATION, _LINES, _RESTARTS = 0xC4, 0xCC, 0xDB, 0xDC, 0xDD
_FRAMES = {*range(0xC0, 0xD0)} - {_HUFFMAN, 0xC8, _ARITHMETIC}
_TABLES = {_HUFFMAN, _ARITHMETIC, _QUANTIZATION, _LINES, _RESTARTS}
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_JFIF, _EXIF, _PROFILE, _ADOBE = b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe"
_PROFILE_PART = 65_000


def _strip_jpeg(data: bytes) -> bytes:
    out, pos, scans, coded, kept = [b"\xff\xd8"], 2, 0, False, _Kept()
    for _ in range(MAX_PARTS):
        found = (_MARKER_AFTER_SCAN if scans else _MARKER).search(data, pos)
        if found is None:
            break
        marker = found[1][0]
        if coded:
            out.append(data[pos : found.start()])
        coded = marker == _START_OF_SCAN
        scans += coded
        if scans > MAX_SCANS:
            raise Refused("The JPEG has too many scans.")
        pos = found.end()
        if marker == _END_OF_IMAGE and scans:
            return b"".join([*out[:1], *kept.segments(), *out[1:], b"\xff\xd9"])
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, pos)
        payload = data[pos + 2 : pos + length]
        pos += max(length, 2)
        if marker in _APPLICATION:
            kept.take(marker, payload)
        elif marker in _TABLES or coded or (marker in _FRAMES and not scans):
            if not _exact(marker, payload):
                raise Malformed("A segment of the JPEG is longer than what it holds.")
            out.append(_segment(marker, payload))
        elif marker != _COMMENT:
            raise Malformed("The JPEG has a segment where none may be.")
    raise Malformed("The JPEG has no end.")


class _Kept:
    """Rest of the application segments of a JPEG: how it is coded, which way up it is, what its colours are."""

    def __init__(self) -> None:
        self._jfif = self._exif = self._adobe = b""
        self._profile: list[bytes] = []

    def take(self, marker: int, payload: bytes) -> None:
        if marker == 0xE0 and payload.startswith(_JFIF) and len(payload) >= 14:
            self._jfif = payload[:12] + b"\0\0"  # without the thumbnail, which may show cropped parts
        elif marker == 0xE1 and payload.startswith(_EXIF):
            self._exif = self._exif or orientation_only(payload)
        elif marker == 0xE2 and payload.startswith(_PROFILE):
            self._profile.append(payload)
        elif marker == 0xEE and payload.startswith(_ADOBE):
            self._adobe = payload[:12]  # how the colours are coded

    def segments(self) -> Iterator[bytes]:
        if self._jfif:
            yield _segment(0xE0, self._jfif)
        if self._exif:
            yield _segment(0xE1, _EXIF + self._exif)
        joined = b"".join(part[14:] for part in sorted(self._profile, key=lambda part: part[12:13]))
        profile = icc.colours_only(joined) if joined else b""
        starts = range(0, len(profile), _PROFILE_PART)
        for number, start in enumerate(starts, 1):
            yield _segment(0xE2, _PROFILE + bytes([number, len(starts)]) + profile[start : start + _PROFILE_PART])
        if self._adobe:
            yield _segment(0xEE, self._adobe)


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def _exact(marker: int, payload: bytes) -> bool:
    """True when the segment ends with what it holds."""
    if marker == _QUANTIZATION:
        return _ends_at(payload, lambda at: 129 if payload[at] >> 4 else 65)
    if marker == _HUFFMAN:
        return _ends_at(payload, lambda at: 17 + sum(payload[at + 1 : at + 17]))
    if marker == _START_OF_SCAN:
        return len(payload) == 4 + 2 * payload[0]
    if marker in _FRAMES:
        return len(payload) == 6 + 3 * payload[5]
    return len(payload) % 2 == 0 if marker == _ARITHMETIC else len(payload) == 2


def _ends_at(payload: bytes, size: Callable[[int], int]) -> bool:
    at = 0
    while at < len(payload):
        at += size(at)
    return at == len(payload)


# --- PNG: chunks -------------------------------------------------------------------------------------------

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_SIZES = {b"IHDR": 13, b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
_CHROMATICITY_MOST = 1_000_000  # ten times of what there is
_PNG_ORDER = (*_PNG_SIZES, b"iCCP", b"PLTE", b"tRNS", b"eXIf")
_PNG_PALETTE = 3
_PNG_CLEAR = {0: 2, 2: 6, _PNG_PALETTE: 256}
"""Colour type → most bytes of transparency."""


def _strip_png(data: bytes) -> bytes:
    chunks: dict[bytes, bytes] = {}
    picture = []
    for kind, payload in _png_chunks(data):
        if kind == b"IDAT":
            picture.append(payload)
        elif kept := _png_payload(kind, payload):
            chunks.setdefault(kind, kept)
    if b"IHDR" not in chunks or not any(picture):
        raise Malformed("The PNG shows nothing.")
    colours = chunks[b"IHDR"][9]
    chunks[b"tRNS"] = chunks.get(b"tRNS", b"")[: _PNG_CLEAR.get(colours, 0)]
    chunks[b"PLTE"] = chunks.get(b"PLTE", b"") if colours == _PNG_PALETTE else b""
    parts = [(kind, chunks[kind]) for kind in _PNG_ORDER if chunks.get(kind)]
    parts += [(b"IDAT", part) for part in picture]
    return b"".join([_PNG_MAGIC, *(_png_chunk(*part) for part in parts), _png_chunk(b"IEND", b"")])


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Up to the end, or to where the file stops being a PNG: what there is of the picture is shown."""
    pos = len(_PNG_MAGIC)
    for _ in range(MAX_PARTS):
        if pos + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, pos)
        if kind == b"IEND" or not kind.isalpha():
            return
        yield kind, data[pos + 8 : pos + 8 + length]
        pos += 12 + length
    raise Refused("The PNG has too many chunks.")


def _png_payload(kind: bytes, payload: bytes) -> bytes:
    if kind == b"eXIf":
        return orientation_only(payload)
    if kind == b"iCCP":
        return _png_profile(payload)
    fits = len(payload) <= 768 if kind in (b"PLTE", b"tRNS") else len(payload) == _PNG_SIZES.get(kind)
    if not fits or (kind == b"cHRM" and max(struct.unpack(">8I", payload)) > _CHROMATICITY_MOST):
        return b""
    return payload


def _png_profile(payload: bytes) -> bytes:
    _name, _, packed = payload.partition(b"\0")
    try:
        profile = icc.colours_only(zlib.decompressobj().decompress(packed[1:], 4 * 1024**2))
    except zlib.error:
        return b""
    return b"ICC\0\0" + zlib.compress(profile) if profile else b""


def _png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind)))


# --- WebP: RIFF chunks -------------------------------------------------------------------------------------

_WEBP_ANIMATED, _WEBP_EXIF, _WEBP_ALPHA, _WEBP_PROFILE = 0x02, 0x08, 0x10, 0x20
_WEBP_FRAME_HEAD = 16


def _strip_webp(data: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", data, 4)
    chunks: dict[bytes, bytes] = {}
    for kind, payload in _webp_chunks(data[12 : size + 8]):
        chunks.setdefault(kind, payload)
    still = _webp_picture(chunks)
    if b"VP8X" not in chunks:
        return _webp(still)
    return _webp(_webp_extended(chunks, still))


def _webp_extended(chunks: dict[bytes, bytes], still: bytes) -> bytes:
    """The header that tells of what else there is, and the picture with it: of an animation the first frame alone."""
    head = chunks[b"VP8X"]
    profile = icc.colours_only(chunks.get(b"ICCP", b""))
    exif = orientation_only(chunks.get(b"EXIF", b""))
    animated = head[0] & _WEBP_ANIMATED and b"ANMF" in chunks
    flags = head[0] & _WEBP_ALPHA | (_WEBP_EXIF if exif else 0) | (_WEBP_PROFILE if profile else 0)
    parts = []
    if animated:
        flags |= _WEBP_ANIMATED
        frame = chunks[b"ANMF"]
        inside = dict(_webp_chunks(frame[_WEBP_FRAME_HEAD:]))
        parts = [_webp_chunk(b"ANIM", bytes(4) + b"\1\0")]
        still = _webp_chunk(b"ANMF", frame[:12] + bytes([0, 0, 0, frame[15] & 3]) + _webp_picture(inside))
    parts = [_webp_chunk(b"ICCP", profile) if profile else b"", *parts, still]
    parts += [_webp_chunk(b"EXIF", exif)] if exif else []
    return _webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + head[4:10]) + b"".join(parts)


def _webp_picture(chunks: dict[bytes, bytes]) -> bytes:
    coded = next((kind for kind in chunks if kind in (b"VP8 ", b"VP8L")), None)
    if coded is None:
        return b""
    clear = _webp_chunk(b"ALPH", chunks[b"ALPH"]) if coded == b"VP8 " and b"ALPH" in chunks else b""
    return clear + _webp_chunk(coded, chunks[coded])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Up to a chunk that is cut."""
    pos = 0
    for _ in range(MAX_PARTS):
        if pos + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, pos)
        if pos + 8 + length > len(data):
            return
        yield kind, data[pos + 8 : pos + 8 + length]
        pos += 8 + length + length % 2
    raise Refused("The WebP has too many chunks.")


def _webp_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def _webp(body: bytes) -> bytes:
    if not body:
        raise Malformed("The WebP shows nothing.")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


# --- GIF: blocks; the first frame stays --------------------------------------------------------------------

_GIF_IMAGE, _GIF_EXTENSION, _GIF_TRAILER = 0x2C, 0x21, 0x3B
_GIF_CONTROL = b"\x21\xf9\x04"


def _strip_gif(data: bytes) -> bytes:
    start = pos = 13 + _gif_palette(data[10])
    control = b""
    for _ in range(MAX_PARTS):
        if data[pos] == _GIF_IMAGE:
            return data[:start] + control + _gif_image(data, pos) + bytes([_GIF_TRAILER])
        if data[pos] != _GIF_EXTENSION:
            raise Malformed("The GIF shows nothing.")
        if data[pos : pos + 3] == _GIF_CONTROL:  # which colour is transparent; not how long the frame is shown
            control = _GIF_CONTROL + bytes([data[pos + 3] & 1, 0, 0, data[pos + 6], 0])
        pos = _after_sub_blocks(data, pos + 2)
    raise Refused("The GIF has too many blocks.")


def _gif_image(data: bytes, pos: int) -> bytes:
    """As much of it as there is."""
    start = pos + 11 + _gif_palette(data[pos + 9])
    end = start
    while end < len(data) and (size := data[end]) and end + 1 + size <= len(data):
        end += 1 + size
    if end == start:
        raise Malformed("The GIF shows nothing.")
    return data[pos:end] + b"\0"


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, pos: int) -> int:
    while size := data[pos]:
        pos += size + 1
    return pos + 1


_STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    "image/jpeg": _strip_jpeg,
    "image/png": _strip_png,
    "image/webp": _strip_webp,
    "image/gif": _strip_gif,
    "image/heic": heif.strip,
    "image/heif": heif.strip,
}
