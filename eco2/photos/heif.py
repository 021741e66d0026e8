"""HEIC files rebuilt from the items that show the still picture (ISO/IEC 23008-12).

Films, sounds, depth and gain maps, thumbnails, EXIF, XMP, messages inside the coded picture and boxes of vendors are
not taken over: nothing is, unless it is needed to show the primary image.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eco2.photos import icc
from eco2.photos.containers import MAX_PARTS, Malformed, Refused

_MOST_ITEMS = 2000
_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 mif2 msf1 miaf MiHB MiHE MiPr".split())
_PICTURES = {b"hvc1", b"grid", b"iden", b"iovl"}
_ALPHA = {b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"}
_SIZES = {b"ispe": 12, b"irot": 1, b"imir": 1, b"clap": 32, b"pasp": 8, b"lsel": 2}
"""Properties of one size each, in bytes of their content."""
_PARAMETER_SETS = range(32, 35)
_PICTURE_UNITS = range(35)
"""Of HEVC: slices and parameter sets; higher numbers are delimiters and messages."""


class Property(NamedTuple):
    kind: bytes
    content: bytes
    essential: bool


@dataclass
class Item:
    """`inline`: its data is in the box of items instead of behind it."""

    kind: bytes
    hidden: bool
    data: bytes = b""
    inline: bool = False
    properties: list[Property] = field(default_factory=list)


class Reference(NamedTuple):
    kind: bytes
    source: int
    targets: tuple[int, ...]


@dataclass
class Heif:
    brand: bytes
    compatible: list[bytes]
    primary: int
    items: dict[int, Item]
    references: list[Reference]


def strip(data: bytes) -> bytes:
    """The file with what shows its still picture and nothing else. Raises Malformed and Refused."""
    found = read(data)
    return write(_needed(found))


def _needed(whole: Heif) -> Heif:
    """Items that the primary image is made of, and its transparency."""
    wanted = _made_of(whole, {whole.primary})
    alpha = {
        reference.source
        for reference in whole.references
        if reference.kind == b"auxl" and wanted & set(reference.targets) and _is_alpha(whole, reference.source)
    }
    wanted |= _made_of(whole, alpha)
    items = {number: item for number, item in whole.items.items() if number in wanted}
    if not {whole.primary} <= items.keys() or any(item.kind not in _PICTURES for item in items.values()):
        raise Malformed("The HEIC shows something else than coded pictures.")
    references = [
        Reference(kind, source, tuple(target for target in targets if target in items))
        for kind, source, targets in whole.references
        if source in items and kind in (b"dimg", b"auxl", b"prem") and items.keys() & set(targets)
    ]
    clean = {number: _clean(item) for number, item in items.items()}
    brands = [brand for brand in whole.compatible if brand in _BRANDS]
    return Heif(whole.brand, brands, whole.primary, clean, references)


def _made_of(whole: Heif, items: set[int]) -> set[int]:
    parts = {reference.source: reference.targets for reference in whole.references if reference.kind == b"dimg"}
    found, left = set(items), list(items)
    while left:
        new = set(parts.get(left.pop(), ())) - found
        found |= new
        left.extend(new)
    return found


def _is_alpha(whole: Heif, number: int) -> bool:
    item = whole.items.get(number)
    return item is not None and any(
        one.kind == b"auxC" and one.content[4:].partition(b"\0")[0] in _ALPHA for one in item.properties
    )


def _clean(item: Item) -> Item:
    properties = [
        Property(one.kind, content, one.essential)
        for one in item.properties
        if (content := _property(one.kind, one.content))
    ]
    data = item.data
    if item.kind == b"hvc1":
        config = next((one.content for one in properties if one.kind == b"hvcC"), b"")
        if len(config) < 23:
            raise Malformed("A picture of the HEIC lacks its decoder configuration.")
        data = b"".join(_units(data, (config[21] & 3) + 1))
        if not data:
            raise Malformed("A picture of the HEIC is not in the file.")
    return Item(item.kind, item.hidden, data, item.inline, properties)


def _property(kind: bytes, content: bytes) -> bytes:
    """Part of a property that stays; nothing of those that no picture needs."""
    if kind in _SIZES and len(content) == _SIZES[kind]:
        return content
    if kind == b"pixi":
        return content[: 5 + content[4]]
    if kind == b"auxC":
        return content[:4] + content[4:].partition(b"\0")[0] + b"\0"
    if kind == b"colr":
        return _colour(content)
    return _decoder(content) if kind == b"hvcC" else b""


def _colour(content: bytes) -> bytes:
    if content[:4] == b"nclx":
        return content[:11]
    profile = icc.colours_only(content[4:]) if content[:4] in (b"prof", b"rICC") else b""
    return content[:4] + profile if profile else b""


def _decoder(content: bytes) -> bytes:
    """The decoder configuration with its parameter sets, without messages."""
    arrays, count, pos = b"", 0, 23
    for _ in range(content[22]):
        kind, units = struct.unpack_from(">BH", content, pos)
        start, pos = pos, pos + 3
        for _ in range(units):
            pos += 2 + int.from_bytes(content[pos : pos + 2], "big")
        if kind & 63 in _PARAMETER_SETS and pos <= len(content):
            arrays += content[start:pos]
            count += 1
    return content[:22] + bytes([count]) + arrays


def _units(data: bytes, size: int) -> Iterator[bytes]:
    """The coded slices of a picture with their lengths, `size` bytes each; messages between them are left out."""
    pos = 0
    for _ in range(MAX_PARTS):
        if pos >= len(data):
            return
        end = pos + size + int.from_bytes(data[pos : pos + size], "big")
        if end > len(data) or end <= pos + size:
            raise Malformed("A picture of the HEIC is cut.")
        if data[pos + size] >> 1 & 63 in _PICTURE_UNITS:
            yield data[pos:end]
        pos = end
    raise Refused("A picture of the HEIC has too many parts.")


# --- reading ----------------------------------------------------------------------------------------------------------


class _Box(NamedTuple):
    kind: bytes
    start: int  # of the content
    end: int


def read(data: bytes) -> Heif:
    """Every item with its data and its properties. Raises Malformed and Refused."""
    top = _by_kind(data, 0, len(data), tolerant=True)
    if b"ftyp" not in top or b"meta" not in top:
        raise Malformed("The HEIC has no items.")
    brands = data[top[b"ftyp"].start : top[b"ftyp"].end]
    meta = _by_kind(data, top[b"meta"].start + 4, top[b"meta"].end)
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= meta.keys():
        raise Malformed("The HEIC lacks tables.")
    items = dict(_items(data, meta[b"iinf"]))
    for number, content, inline in _contents(data, meta):
        if number in items:
            items[number].data, items[number].inline = content, inline
    _associate(data, meta[b"iprp"], items)
    primary = _Reader(data, meta[b"pitm"])
    number = primary.number(2 if primary.version() == 0 else 4)
    references = list(_references(data, meta[b"iref"])) if b"iref" in meta else []
    compatible = [brands[pos : pos + 4] for pos in range(8, len(brands) - 3, 4)]
    return Heif(brands[:4], compatible, number, items, references)


def _by_kind(data: bytes, start: int, end: int, *, tolerant: bool = False) -> dict[bytes, _Box]:
    """The first box of each kind. `tolerant`: accept any data after the items."""
    found: dict[bytes, _Box] = {}
    try:
        for box in _boxes(data, start, end):
            found.setdefault(box.kind, box)
    except (Malformed, struct.error):
        if not tolerant:
            raise
    return found


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    for _ in range(MAX_PARTS):
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
    raise Refused("The HEIC has too many boxes.")


class _Reader:
    """Numbers of a box, one after the other."""

    def __init__(self, data: bytes, box: _Box) -> None:
        self._data, self._pos, self._end = data, box.start, box.end
        self.flags = 0

    def version(self) -> int:
        """At the start of most boxes, with `flags`."""
        version, self.flags = self.number(1), self.number(3)
        return version

    def number(self, size: int) -> int:
        start, self._pos = self._pos, self._pos + size
        if self._pos > self._end:
            raise Malformed("A table of the HEIC ends too early.")
        return int.from_bytes(self._data[start : self._pos], "big")


def _items(data: bytes, iinf: _Box) -> Iterator[tuple[int, Item]]:
    for count, box in enumerate(_boxes(data, iinf.start + (6 if data[iinf.start] == 0 else 8), iinf.end)):
        if count > _MOST_ITEMS:
            raise Refused("The HEIC has too many items.")
        entry = _Reader(data, box)
        version = entry.version()
        if box.kind == b"infe" and version >= 2:
            number, _ = entry.number(2 if version == 2 else 4), entry.number(2)
            yield number, Item(entry.number(4).to_bytes(4, "big"), bool(entry.flags & 1))


def _contents(data: bytes, meta: Mapping[bytes, _Box]) -> Iterator[tuple[int, bytes, bool]]:
    """(item, its bytes, whether they are inside the box of items), from the item location box (14496-12, 8.11.3)."""
    idat = meta.get(b"idat")
    table = _Reader(data, meta[b"iloc"])
    version, sizes = table.version(), table.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide, total, parts = 4 if version == 2 else 2, 0, 0
    for _ in range(table.number(wide)):
        number = table.number(wide)
        method = table.number(2) & 15 if version else 0
        table.number(2)
        inline = method == 1 and idat is not None
        base = table.number(base_size) + (idat.start if idat and inline else 0)
        extents = []
        for _ in range(table.number(2)):
            table.number(index_size if version else 0)
            start, length = base + table.number(offset_size), table.number(length_size)
            extents.append(data[start : start + length])
            total, parts = total + length, parts + 1
            if len(extents[-1]) != length:
                extents = []  # not in the file; where the picture needs it, it is missed
                break
            if total > len(data) or parts > MAX_PARTS:
                raise Refused("Items of the HEIC overlap.")
        if method < 2:
            yield number, b"".join(extents), inline


def _associate(data: bytes, iprp: _Box, items: dict[int, Item]) -> None:
    found = list(_boxes(data, iprp.start, iprp.end))
    containers = [box for box in found if box.kind == b"ipco"]
    if len(containers) != 1:
        raise Malformed("The HEIC has no list of properties.")
    known = [(box.kind, data[box.start : box.end]) for box in _boxes(data, containers[0].start, containers[0].end)]
    for box in found:
        if box.kind == b"ipma":
            _associate_one(_Reader(data, box), known, items)


def _associate_one(table: _Reader, known: list[tuple[bytes, bytes]], items: dict[int, Item]) -> None:
    wide = 2 if table.version() == 0 else 4
    size = 2 if table.flags & 1 else 1
    essential = 1 << (8 * size - 1)
    for _ in range(table.number(4)):
        item = items.get(table.number(wide))
        for _ in range(table.number(1)):
            index = table.number(size)
            place = index & (essential - 1)
            if item is not None and 0 < place <= len(known):
                item.properties.append(Property(*known[place - 1], bool(index & essential)))


def _references(data: bytes, iref: _Box) -> Iterator[Reference]:
    wide = 2 if data[iref.start] == 0 else 4
    for box in _boxes(data, iref.start + 4, iref.end):
        table = _Reader(data, box)
        source = table.number(wide)
        yield Reference(box.kind, source, tuple(table.number(wide) for _ in range(table.number(2))))


# --- writing ----------------------------------------------------------------------------------------------------------

_SMALL, _WIDE = 2, 4


def write(whole: Heif) -> bytes:
    """A file of these items; the same items always give the same bytes."""
    wide = _WIDE if max(whole.items) > 0xFFFF else _SMALL
    ftyp = _box(b"ftyp", whole.brand, bytes(4), *whole.compatible)
    outside = [item.data for item in whole.items.values() if not item.inline]
    inside = b"".join(item.data for item in whole.items.values() if item.inline)

    def meta(start: int) -> bytes:
        return _box(
            b"meta",
            bytes(4),
            _box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _box(b"pitm", _version(wide), whole.primary.to_bytes(wide, "big")),
            _locations(whole, wide, start),
            _infos(whole, wide),
            _written_references(whole, wide),
            _properties(whole, wide),
            _box(b"idat", inside) if inside else b"",
        )

    size = len(meta(0))  # does not depend on where the data starts
    return ftyp + meta(len(ftyp) + size + 8) + _box(b"mdat", *outside)


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _version(wide: int, small: int = 0, flags: int = 0) -> bytes:
    """Version and flags of a box: the version after `small` has wide item numbers."""
    return bytes([small + (wide == _WIDE)]) + flags.to_bytes(3, "big")


def _locations(whole: Heif, wide: int, start: int) -> bytes:
    version = b"\2\0\0\0" if wide == _WIDE else b"\1\0\0\0"
    rows, places = [], {False: start, True: 0}
    for number, item in whole.items.items():
        place = places[item.inline]
        places[item.inline] += len(item.data)
        rows.append(number.to_bytes(wide, "big") + struct.pack(">HHHII", item.inline, 0, 1, place, len(item.data)))
    return _box(b"iloc", version, b"\x44\0", len(rows).to_bytes(wide, "big"), *rows)


def _infos(whole: Heif, wide: int) -> bytes:
    entries = [
        _box(b"infe", _version(wide, 2, item.hidden), number.to_bytes(wide, "big"), bytes(2), item.kind, b"\0")
        for number, item in whole.items.items()
    ]
    return _box(b"iinf", bytes(4), len(entries).to_bytes(2, "big"), *entries)


def _written_references(whole: Heif, wide: int) -> bytes:
    rows = []
    for kind, source, targets in whole.references:
        numbers = [source.to_bytes(wide, "big"), len(targets).to_bytes(2, "big")]
        rows.append(_box(kind, *numbers, *(target.to_bytes(wide, "big") for target in targets)))
    return _box(b"iref", _version(wide), *rows) if rows else b""


def _properties(whole: Heif, wide: int) -> bytes:
    known: dict[tuple[bytes, bytes], int] = {}
    for item in whole.items.values():
        for one in item.properties:
            known.setdefault((one.kind, one.content), len(known) + 1)
    rows = []
    for number, item in whole.items.items():
        places = [known[one.kind, one.content] | (one.essential << 15) for one in item.properties]
        rows.append(number.to_bytes(wide, "big") + bytes([len(places)]) + struct.pack(f">{len(places)}H", *places))
    ipco = _box(b"ipco", *(_box(kind, content) for kind, content in known))
    ipma = _box(b"ipma", _version(wide, flags=1), len(rows).to_bytes(4, "big"), *rows)
    return _box(b"iprp", ipco, ipma)
