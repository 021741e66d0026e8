"""Colour profiles reduced to the values that colours are computed from: no names, dates or tags of vendors."""

import struct

_HEADER = 128
_MOST_BYTES = 2 * 1024**2
_MOST_TAGS = 100
_KEPT = b"wtpt rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC chad A2B0 A2B1 A2B2 cicp".split()
_FIXED = {b"wtpt": 20, b"rXYZ": 20, b"gXYZ": 20, b"bXYZ": 20, b"chad": 44, b"cicp": 12}
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
_D50 = bytes.fromhex("0000f6d6000100000000d32d")
_NAME = b"RGB"


def colours_only(profile: bytes) -> bytes:
    """The profile rebuilt from its colour tags; empty when it is none, or has none."""
    try:
        tags = _tags(profile)
    except struct.error:
        return b""
    if not tags or profile[36:40] != b"acsp" or len(profile) > _MOST_BYTES:
        return b""
    return _written(profile[:_HEADER], [*_required(profile[8]), *tags])


def _tags(profile: bytes) -> list[tuple[bytes, bytes]]:
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    found = {}
    for number in range(min(count, _MOST_TAGS)):
        kind, start, size = struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * number)
        tag = profile[start : start + size]
        if kind in _KEPT and len(tag) == size:
            found[kind] = _tag(kind, tag)
    return [(kind, found[kind]) for kind in _KEPT if found.get(kind)]


def _tag(kind: bytes, tag: bytes) -> bytes:
    """A tag without data behind its values."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        return tag[: 12 + 2 * count]
    if tag[:4] == b"para":
        (function,) = struct.unpack_from(">H", tag, 8)
        return tag[:10] + b"\0\0" + tag[12 : 12 + 4 * (1, 3, 4, 5, 7)[min(function, 4)]]
    return tag[: _FIXED.get(kind, len(tag))]


def _required(version: int) -> list[tuple[bytes, bytes]]:
    """The two texts without which a profile is not valid."""
    if version >= 4:
        name = _NAME.decode().encode("utf-16-be")
        text = b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(name), 28) + name
        return [(b"desc", text), (b"cprt", text)]
    desc = b"desc" + struct.pack(">II", 0, len(_NAME) + 1) + _NAME + bytes(1 + 78)
    return [(b"desc", desc), (b"cprt", b"text" + bytes(4) + _NAME + b"\0")]


def _written(header: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    body, places, table = b"", {}, b""
    start = _HEADER + 4 + 12 * len(tags)
    for kind, tag in tags:
        if tag not in places:
            places[tag] = start + len(body)
            body += tag + bytes(-len(tag) % 4)
        table += struct.pack(">4sII", kind, places[tag], len(tag))
    # Version, class, colours and what they are given in, rendering intent; the rest says who made it, and when.
    clean = bytes(4) + header[8:10] + bytes(2) + header[12:24] + _DATE + b"acsp" + bytes(24) + header[64:68] + _D50
    clean = struct.pack(">I", start + len(body)) + clean + bytes(48)
    return clean + struct.pack(">I", len(tags)) + table + body
