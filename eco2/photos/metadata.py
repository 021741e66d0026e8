"""Removes EXIF, GPS, XMP, IPTC, comments and trailing data from photo files without touching the picture.

Works on the container only and never decodes. Hostile input costs at most a few passes over the file: every loop
moves forward in it, and a file of absurdly many parts is refused. JPEG, PNG and WebP keep their orientation in an
EXIF block that holds nothing else; HEIC keeps it in its own transformation boxes. Colour profiles stay.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MAX_SCANS = 64  # encoders write about 10; each is decoded over the whole photo, so 9,000 would take minutes
_MAX_PARTS = 20_000  # a photo of 15 MB in chunks of 1 kB has fewer


class Malformed(ValueError):
    """The file does not follow its own format."""


def strip(content_type: str, data: bytes) -> bytes:
    """The file without metadata; equal to `data` where there is none. Raises Malformed."""
    try:
        return _STRIPPERS[content_type](data)
    except (IndexError, struct.error) as error:
        raise Malformed("The file ends too early.") from error


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


def _orientation_only(exif: bytes) -> bytes:
    """An EXIF block with the orientation of `exif` and nothing else; empty when upright."""
    value = orientation(exif)
    return b"" if value == 1 else b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)


# --- JPEG: marker segments, then entropy-coded data --------------------------------------------------------

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MARKER_AFTER_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def _strip_jpeg(data: bytes) -> bytes:
    out, pos, marker_after, scans = [b"\xff\xd8"], 2, _MARKER, 0
    for _ in range(_MAX_PARTS):
        found = marker_after.search(data, pos)
        if found is None:
            break
        scans += found[1][0] == _START_OF_SCAN
        if scans > _MAX_SCANS:
            raise Malformed("The JPEG has too many scans.")
        if marker_after is _MARKER_AFTER_SCAN:
            out.append(data[pos : found.start()])
        marker, pos, marker_after = found[1][0], found.end(), _MARKER
        if marker == _END_OF_IMAGE:
            return b"".join([*out, b"\xff\xd9"])
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, pos)
        kept = _jpeg_payload(marker, data[pos + 2 : pos + length])
        if kept is not None:
            out.append(b"\xff" + found[1] + struct.pack(">H", len(kept) + 2) + kept)
        pos += max(length, 2)
        if marker == _START_OF_SCAN:
            marker_after = _MARKER_AFTER_SCAN
    raise Malformed("The JPEG has no end.")


def _jpeg_payload(marker: int, payload: bytes) -> bytes | None:
    """What stays of a segment's payload; None where the segment goes."""
    if marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return payload[:12] + b"\0\0"  # without the thumbnail, which may show what was cropped
    if marker == 0xE1 and payload.startswith(b"Exif\0\0"):
        exif = _orientation_only(payload)
        return b"Exif\0\0" + exif if exif else None
    if marker == 0xE2 and payload.startswith(b"ICC_PROFILE\0"):
        return payload
    if marker == 0xEE and payload.startswith(b"Adobe"):
        return payload  # says how the colours are coded
    return None if 0xE0 <= marker <= 0xEF or marker == 0xFE else payload


# --- PNG: chunks -------------------------------------------------------------------------------------------

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    (b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD pHYs hIST acTL fcTL fdAT").split()
)


def _strip_png(data: bytes) -> bytes:
    out, pos = [_PNG_MAGIC], len(_PNG_MAGIC)
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, pos)
        end = pos + 12 + length
        if end > len(data):
            raise Malformed("The PNG ends too early.")
        if kind in _PNG_KEPT:
            out.append(data[pos:end])
        elif kind == b"eXIf":
            exif = _orientation_only(data[pos + 8 : end - 4])
            out.append(_png_chunk(kind, exif) if exif else b"")
        if kind == b"IEND":
            return b"".join(out)
        pos = end
    raise Malformed("The PNG has no end.")


def _png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


# --- WebP: RIFF chunks -------------------------------------------------------------------------------------

_WEBP_KEPT = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_WEBP_EXIF_FLAG, _WEBP_XMP_FLAG = 0x08, 0x04


def _strip_webp(data: bytes) -> bytes:
    chunks, exif = [], b""
    for kind, payload in _webp_chunks(data):
        if kind in _WEBP_KEPT:
            chunks.append((kind, payload))
        elif kind == b"EXIF":
            exif = exif or _orientation_only(payload)
    flag = _WEBP_EXIF_FLAG if exif else 0
    parts = [_webp_chunk(kind, _webp_flags(payload, flag) if kind == b"VP8X" else payload) for kind, payload in chunks]
    body = b"WEBP" + b"".join([*parts, _webp_chunk(b"EXIF", exif) if exif else b""])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise Malformed("The WebP ends too early.")
    pos = 12
    for _ in range(_MAX_PARTS):
        if pos >= size + 8:
            return
        kind, length = struct.unpack_from("<4sI", data, pos)
        if pos + 8 + length > len(data):
            raise Malformed("The WebP ends too early.")
        yield kind, data[pos + 8 : pos + 8 + length]
        pos += 8 + length + length % 2
    raise Malformed("The WebP has too many chunks.")


def _webp_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def _webp_flags(payload: bytes, exif_flag: int) -> bytes:
    return bytes([payload[0] & ~(_WEBP_EXIF_FLAG | _WEBP_XMP_FLAG) | exif_flag]) + payload[1:]


# --- GIF: blocks -------------------------------------------------------------------------------------------

_GIF_IMAGE, _GIF_EXTENSION, _GIF_TRAILER = 0x2C, 0x21, 0x3B
_GIF_KEPT_EXTENSIONS = {0xF9, 0x01}  # timing and transparency, drawn text
_GIF_LOOPS = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}


class _GifBlock(NamedTuple):
    kind: int
    start: int
    end: int


def gif_frames(data: bytes) -> int:
    """Of a file that `strip` accepts."""
    return sum(block.kind == _GIF_IMAGE for block in _gif_blocks(data))


def _strip_gif(data: bytes) -> bytes:
    kept = (
        data[block.start : block.end]
        for block in _gif_blocks(data)
        if block.kind == _GIF_IMAGE or _gif_extension_stays(data, block.start)
    )
    return b"".join([data[: _gif_start(data)], *kept, bytes([_GIF_TRAILER])])


def _gif_extension_stays(data: bytes, start: int) -> bool:
    label = data[start + 1]
    return label in _GIF_KEPT_EXTENSIONS or (label == 0xFF and data[start + 3 : start + 14] in _GIF_LOOPS)


def _gif_start(data: bytes) -> int:
    return 13 + _gif_palette(data[10])


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks(data: bytes) -> Iterator[_GifBlock]:
    pos = _gif_start(data)
    for _ in range(_MAX_PARTS):
        kind = data[pos]
        if kind == _GIF_TRAILER:
            return
        elif kind == _GIF_IMAGE:
            end = _after_sub_blocks(data, pos + 11 + _gif_palette(data[pos + 9]))
        elif kind == _GIF_EXTENSION:
            end = _after_sub_blocks(data, pos + 2)
        else:
            raise Malformed("The GIF has a block of unknown kind.")
        yield _GifBlock(kind, pos, end)
        pos = end
    raise Malformed("The GIF has too many blocks.")


def _after_sub_blocks(data: bytes, pos: int) -> int:
    while size := data[pos]:
        pos += size + 1
    return pos + 1


# --- HEIC: boxes; metadata are items whose bytes are overwritten in place, so that no offset changes ---------

_HEIF_BLANK = {b"uuid", b"udta", b"free", b"skip"}
_HEIF_METADATA_ITEMS = {b"Exif", b"mime", b"uri "}
_EMPTY_EXIF = bytes(4) + b"MM\0*" + struct.pack(">IHI", 8, 0, 0)


class _Box(NamedTuple):
    kind: bytes
    start: int  # of the content
    end: int


class _Extent(NamedTuple):
    item: int
    start: int
    length: int


def _strip_heif(data: bytes) -> bytes:
    out = bytearray(data)
    for box in _boxes(data, 0, len(data)):
        if box.kind in _HEIF_BLANK:
            out[box.start : box.end] = bytes(box.end - box.start)
        elif box.kind == b"meta":
            _blank_items(data, box, out)
        elif box.kind == b"moov":
            for child in _boxes(data, box.start, box.end):
                if child.kind in (*_HEIF_BLANK, b"meta"):
                    out[child.start : child.end] = bytes(child.end - child.start)
    return bytes(out)


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MAX_PARTS):
        if start >= end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, start + 8), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            raise Malformed("A box of the HEIC does not fit.")
        yield _Box(kind, start + header, start + size)
        start += size
    raise Malformed("The HEIC has too many boxes.")


def _blank_items(data: bytes, meta: _Box, out: bytearray) -> None:
    children = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
    if b"iinf" not in children or b"iloc" not in children:
        return
    kinds = _metadata_items(data, children[b"iinf"])
    extents = [extent for extent in _extents(data, children) if extent.item in kinds]
    if sum(extent.length for extent in extents) > len(data):
        raise Malformed("Items of the HEIC overlap.")
    for extent in extents:
        out[extent.start : extent.start + extent.length] = _blank(kinds[extent.item], extent.length)


def _blank(kind: bytes, length: int) -> bytes:
    if kind == b"Exif" and length >= len(_EMPTY_EXIF):
        return _EMPTY_EXIF.ljust(length, b"\0")
    return b" " * length if kind == b"mime" else bytes(length)


def _metadata_items(data: bytes, iinf: _Box) -> dict[int, bytes]:
    items = {}
    for box in _boxes(data, iinf.start + (6 if data[iinf.start] == 0 else 8), iinf.end):
        version = data[box.start]
        if box.kind == b"infe" and version >= 2:
            item, _, kind = struct.unpack_from(">HH4s" if version == 2 else ">IH4s", data, box.start + 4)
            if kind in _HEIF_METADATA_ITEMS:
                items[item] = kind
    return items


class _Reader:
    def __init__(self, data: bytes, box: _Box) -> None:
        self._data, self._pos, self._end = data, box.start, box.end

    def number(self, size: int) -> int:
        start, self._pos = self._pos, self._pos + size
        if self._pos > self._end:
            raise Malformed("A table of the HEIC ends too early.")
        return int.from_bytes(self._data[start : self._pos], "big")


def _extents(data: bytes, children: dict[bytes, _Box]) -> list[_Extent]:
    """Where the bytes of each item are, from the item location box (ISO/IEC 14496-12, 8.11.3)."""
    idat = children.get(b"idat")
    table = _Reader(data, children[b"iloc"])
    version, _flags, sizes = table.number(1), table.number(3), table.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    found: list[_Extent] = []
    for _ in range(table.number(wide)):
        item = table.number(wide)
        method = table.number(2) & 15 if version else 0
        table.number(2)
        base = table.number(base_size) + (idat.start if idat and method == 1 else 0)
        for _ in range(table.number(2)):
            table.number(index_size if version else 0)
            found.append(_Extent(item, base + table.number(offset_size), table.number(length_size)))
            if len(found) > _MAX_PARTS or found[-1].start + found[-1].length > len(data):
                raise Malformed("An item of the HEIC is not in the file.")
    return found


_STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    "image/jpeg": _strip_jpeg,
    "image/png": _strip_png,
    "image/webp": _strip_webp,
    "image/gif": _strip_gif,
    "image/heic": _strip_heif,
    "image/heif": _strip_heif,
}
