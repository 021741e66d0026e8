"""Nothing but the still picture survives: a marker planted anywhere else in a file is gone, its pixels are equal."""

import io
import string
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from eco2 import photos
from eco2.photos import heif, icc, metadata, reading
from eco2.photos.heif import Heif, Item, Property, Reference
from tests import photos as samples

SECRET = b"37.5665N 126.9780E, Seoul"
PICTURE = samples.picture(64, 48)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TELLING_PROFILE = PROFILE.replace(b"\0s\0R\0G\0B", b"37.5665N")
NAMES = st.text(string.ascii_letters, min_size=4, max_size=4).map(str.encode)


def pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(reading.decode(data, 64))


def assert_clean(content_type: str, planted: bytes, picture: bytes) -> None:
    assert SECRET in planted or b"37.5665" in planted
    info, clean = reading.inspect(planted)
    assert info.content_type == content_type
    assert b"37.5665" not in clean
    assert (pixels(clean) == pixels(picture)).all()
    assert reading.inspect(clean)[1] is clean, "there is nothing left to remove"


# --- JPEG -------------------------------------------------------------------------------------------------------------


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


HEADS = [b"", b"Exif\0\0", b"JFXX\0", b"MPF\0", b"FPXR\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"]
SEGMENTS = st.builds(
    lambda marker, head, before: segment(marker, head + before + SECRET),
    st.sampled_from([*range(0xE0, 0xF0), 0xFE]),
    st.sampled_from(HEADS),
    st.binary(max_size=20),
)


@st.composite
def jpegs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    picture = samples.encoded(PICTURE, "JPEG", progressive=draw(st.booleans()))
    starts = [2, *(at for at in range(len(picture)) if picture[at : at + 2] in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda"))]
    planted = picture
    for start in sorted(draw(st.lists(st.sampled_from(starts), max_size=4)), reverse=True):
        planted = planted[:start] + draw(SEGMENTS) + planted[start:]
    return planted + draw(st.binary(max_size=20)) + SECRET, picture


@given(jpegs())
@settings(max_examples=60, deadline=None)
def test_of_a_jpeg_only_the_picture_stays(given: tuple[bytes, bytes]) -> None:
    assert_clean("image/jpeg", *given)


@pytest.mark.parametrize(
    "planted",
    [
        lambda picture: picture[:20] + b"between" + SECRET + picture[20:],
        lambda picture: picture[:2] + segment(0xDB, picture[25:90] + SECRET) + picture[2:],
        lambda picture: picture[:2] + segment(0xF0, SECRET) + picture[2:],
        lambda picture: picture[:2] + segment(0xDD, b"\0\0" + SECRET) + picture[2:],
        lambda picture: picture[:-2] + segment(0xC0, SECRET) + picture[-2:],
        lambda picture: picture[:-2] + picture + SECRET + b"\xff\xd9",
        lambda picture: picture + samples.jpeg(comment=SECRET),
        lambda picture: picture + b"\0\0\0\x18ftypmp42" + SECRET,
    ],
)
def test_a_jpeg_that_hides_something_where_segments_belong(planted: Callable[[bytes], bytes]) -> None:
    """A file whose parts cannot be told apart is encoded anew, or refused."""
    picture = samples.encoded(PICTURE, "JPEG", quality=95)
    try:
        clean = reading.inspect(planted(picture))[1]
    except photos.PhotoBroken:
        with pytest.raises((OSError, SyntaxError)), Image.open(io.BytesIO(planted(picture))) as image:
            image.load()
        return
    assert b"37.5665" not in clean
    assert np.abs(pixels(clean).astype(int) - pixels(picture)).mean() < 5


# --- PNG --------------------------------------------------------------------------------------------------------------


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


KNOWN = [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"hIST", b"pHYs", b"sPLT"]
KNOWN += [b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"iCCP", b"caBX", b"mkBS"]
CHUNKS = st.builds(
    lambda kind, before: png_chunk(kind, before + SECRET),
    st.one_of(st.sampled_from(KNOWN), NAMES),
    st.binary(max_size=9),
)


@given(st.lists(CHUNKS, max_size=3), st.lists(CHUNKS, max_size=3), st.binary(max_size=20))
@settings(max_examples=60, deadline=None)
def test_of_a_png_only_the_picture_stays(before: list[bytes], after: list[bytes], end: bytes) -> None:
    picture = samples.encoded(PICTURE, "PNG")
    planted = b"".join([picture[:33], *before, picture[33:-12], *after, picture[-12:], end, SECRET])
    assert_clean("image/png", planted, picture)


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "RGBA", "1"])
def test_palette_and_transparency_of_a_png_stay(mode: str) -> None:
    picture = samples.encoded(PICTURE.convert("RGBA").convert(mode if mode != "PA" else "P"), "PNG", optimize=False)
    if mode == "PA":
        image = PICTURE.convert("P")
        picture = samples.encoded(image, "PNG", transparency=bytes(range(200)))
    assert_clean("image/png", picture[:-12] + png_chunk(b"tEXt", SECRET) + picture[-12:], picture)


# --- WebP -------------------------------------------------------------------------------------------------------------


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in chunks]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunks_of(webp: bytes) -> list[tuple[bytes, bytes]]:
    found, pos = [], 12
    while pos < len(webp):
        kind, size = struct.unpack_from("<4sI", webp, pos)
        found.append((kind, webp[pos + 8 : pos + 8 + size]))
        pos += 8 + size + size % 2
    return found


WEBP_CHUNKS = st.tuples(
    st.one_of(st.sampled_from([b"EXIF", b"XMP ", b"ICCP", b"JUNK", b"ANIM", b"ANMF"]), NAMES),
    st.binary(max_size=20).map(lambda before: before + SECRET),
)


@given(
    st.sampled_from(["lossy", "lossless", "clear"]),
    st.integers(0, 255),
    st.lists(WEBP_CHUNKS, max_size=3),
    st.lists(WEBP_CHUNKS, max_size=3),
    st.binary(max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_of_a_webp_only_the_picture_stays(
    how: str, reserved: int, before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]], end: bytes
) -> None:
    image = PICTURE.convert("RGBA") if how == "clear" else PICTURE
    if how == "clear":
        image.putalpha(PICTURE.convert("L"))
    picture = samples.encoded(image, "WEBP", lossless=how == "lossless", exact=True)
    shown = [chunk for chunk in chunks_of(picture) if chunk[0] in (b"VP8 ", b"VP8L", b"ALPH")]
    flags = bytes([0x10 if how == "clear" else 0, reserved, 0, reserved])
    head = (b"VP8X", flags + struct.pack("<HBHB", 63, 0, 47, 0))
    planted = riff(head, *before, *shown, *after) + end + SECRET
    assert_clean("image/webp", planted, picture)


# --- GIF --------------------------------------------------------------------------------------------------------------


def sub_blocks(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)) + b"\0"


EXTENSIONS = st.builds(
    lambda label, before: b"\x21" + bytes([label]) + sub_blocks(before + SECRET),
    st.sampled_from([0xFE, 0xFF, 0x01, 0xF9, 0x00, 0x77]),
    st.sampled_from([b"", b"NETSCAPE2.0", b"XMP DataXMP", b"\4"]),
)


@given(st.lists(EXTENSIONS, max_size=3), st.lists(EXTENSIONS, max_size=3), st.binary(max_size=9))
@settings(max_examples=60, deadline=None)
def test_of_a_gif_only_the_picture_stays(before: list[bytes], after: list[bytes], end: bytes) -> None:
    picture = samples.encoded(PICTURE, "GIF")
    start = 13 + (3 << ((picture[10] & 7) + 1))
    planted = b"".join([picture[:start], *before, picture[start:-1], *after, b"\x3b", end, SECRET])
    assert_clean("image/gif", planted, picture)


# --- animations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_stays(kind: str) -> None:
    data = samples.animated(kind)
    clean = reading.inspect(data)[1]
    assert len(clean) < len(data) / 2
    with Image.open(io.BytesIO(clean)) as image:
        assert getattr(image, "n_frames", 1) == 1
    assert (pixels(clean) == pixels(data)).all()
    assert reading.inspect(clean)[1] is clean


def test_chunks_inside_a_frame_of_a_webp_are_removed() -> None:
    data = samples.animated("WEBP")
    hidden = b"JUNK" + struct.pack("<I", len(SECRET) + 1) + SECRET + b" "
    planted = riff(*((kind, body + hidden if kind == b"ANMF" else body) for kind, body in chunks_of(data)))
    assert_clean("image/webp", planted, data)


# --- HEIC -------------------------------------------------------------------------------------------------------------


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def heic_file(whole: Heif, before: list[bytes], inside: list[bytes], after: list[bytes]) -> bytes:
    """The data comes before the tables, so that what is planted in these moves nothing."""
    start = box(b"ftyp", whole.brand, b"\0\0\0\0", *whole.compatible, b"37.5665N") + b"".join(before)
    outside = b"".join(item.data for item in whole.items.values() if not item.inline)
    idat = b"".join(item.data for item in whole.items.values() if item.inline)
    tables = [
        box(b"hdlr", bytes(8), b"pict", bytes(12), SECRET, b"\0"),
        box(b"pitm", bytes(4), struct.pack(">H", whole.primary)),
        heif._locations(whole, 2, len(start) + 8),
        heif._infos(whole, 2),
        heif._written_references(whole, 2),
        heif._properties(whole, 2),
        box(b"idat", idat, SECRET),
        *inside,
    ]
    return start + box(b"mdat", outside, SECRET) + box(b"meta", bytes(4), *tables) + b"".join(after)


def unit(kind: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) + 2) + bytes([kind << 1, 1]) + payload


NAL_KINDS = st.sampled_from([35, 38, 39, 40, 41, 50, 63])
ITEM_KINDS = st.one_of(st.sampled_from([b"Exif", b"mime", b"uri ", b"hvc1", b"grid"]), NAMES)
BOXES = st.builds(
    lambda kind, payload: box(kind, payload + SECRET),
    st.one_of(st.sampled_from([b"mpvd", b"moov", b"uuid", b"udta", b"free", b"skip", b"mdat", b"sefd"]), NAMES),
    st.binary(max_size=20),
)


@given(
    st.sampled_from([b"", b"\0\0\0\0auxC"]),
    st.lists(st.tuples(ITEM_KINDS, st.booleans()), max_size=3),
    st.lists(NAMES, max_size=3),
    st.lists(NAL_KINDS, max_size=3),
    *[st.lists(BOXES, max_size=3)] * 2,
    st.lists(BOXES, max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_of_a_heic_only_the_picture_stays(
    clear: bytes,
    items: list[tuple[bytes, bool]],
    properties: list[bytes],
    messages: list[int],
    before: list[bytes],
    inside: list[bytes],
    after: list[bytes],
) -> None:
    image = PICTURE.convert("RGBA") if clear else PICTURE
    if clear:
        image.putalpha(PICTURE.convert("L"))
    picture = samples.encoded(image, "HEIF")
    whole = heif.read(picture)
    shown = whole.items[whole.primary]
    for kind in messages:
        shown.data = unit(kind, SECRET) + shown.data + unit(kind, SECRET)
    shown.properties += [Property(kind, SECRET, essential=False) for kind in properties if kind not in (b"auxC",)]
    for number, (item, inline) in enumerate(items, 100):
        whole.items[number] = Item(item, hidden=True, data=SECRET, inline=inline)
        whole.references.append(Reference(b"cdsc", number, (whole.primary,)))
        whole.references.append(Reference(b"thmb", number, (whole.primary,)))
    assert_clean("image/heic", heic_file(whole, before, inside, after), picture)


def test_the_film_of_a_motion_photo_goes() -> None:
    place = box(b"udta", box(b"\xa9xyz", b"\0\x12\x15\xc7+37.5665+126.9780/"))
    film = box(b"mpvd", box(b"ftyp", b"mp42", bytes(4)), box(b"moov", place), box(b"mdat", b"sound and film"))
    heic, jpeg = samples.heic(), samples.jpeg()
    assert_clean("image/heic", heic + film, heif.strip(heic))
    assert b"film" not in reading.inspect(heic + film)[1]
    assert reading.inspect(jpeg + film)[1] == jpeg


def test_a_heic_made_of_tiles_stays_whole() -> None:
    """As phones write them."""
    tiles = [heif.read(samples.encoded(samples.picture(64, 64, seed=seed), "HEIF")) for seed in range(4)]
    whole = Heif(b"heic", [b"mif1", b"heic"], 9, {}, [Reference(b"dimg", 9, (1, 2, 3, 4))])
    for number, tile in enumerate(tiles, 1):
        whole.items[number] = tile.items[tile.primary]
        whole.items[number].hidden = True
    size = Property(b"ispe", struct.pack(">III", 0, 120, 110), essential=False)
    turned = Property(b"irot", b"\1", essential=True)
    whole.items[9] = Item(
        b"grid", hidden=False, data=bytes([0, 0, 1, 1, 0, 120, 0, 110]), inline=True, properties=[size, turned]
    )
    whole.items[20] = Item(b"Exif", hidden=True, data=SECRET)
    planted, picture = heic_file(whole, [], [], []), heif.write(whole)
    assert_clean("image/heic", planted, picture)
    assert pixels(picture).shape == (120, 110, 3)


def test_depth_and_gain_maps_go_and_transparency_stays() -> None:
    image = PICTURE.convert("RGBA")
    image.putalpha(PICTURE.convert("L"))
    whole = heif.read(samples.encoded(image, "HEIF"))
    clean = heif.read(heif.strip(heif.write(whole)))
    assert len(clean.items) == len(whole.items) == 2
    alpha = next(number for number in whole.items if number != whole.primary)
    place = next(n for n, one in enumerate(whole.items[alpha].properties) if one.kind == b"auxC")
    gain = Property(b"auxC", b"\0\0\0\0urn:com:apple:photo:2020:aux:hdrgainmap\0", essential=True)
    whole.items[alpha].properties[place] = gain
    assert list(heif.read(heif.strip(heif.write(whole))).items) == [whole.primary]


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_of_a_colour_profile_what_colours_are_computed_from_stays(kind: str) -> None:
    assert b"37.5665N" in TELLING_PROFILE
    image = PICTURE.copy()
    if kind == "HEIF":
        image.info["icc_profile"] = TELLING_PROFILE
    options = {} if kind == "HEIF" else {"icc_profile": TELLING_PROFILE}
    clean = reading.inspect(samples.encoded(image, kind, **options))[1]
    opened = pillow_heif.open_heif(clean) if kind == "HEIF" else Image.open(io.BytesIO(clean))
    profile = opened.info["icc_profile"]
    assert b"37.5665" not in profile
    assert (lab(profile) == lab(PROFILE)).all()
    assert reading.inspect(clean)[1] is clean


def lab(profile: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    turn = ImageCms.buildTransform(own, ImageCms.createProfile("LAB"), "RGB", "LAB")
    return np.asarray(ImageCms.applyTransform(PICTURE, turn))


@given(st.binary(max_size=400), st.integers(0, len(PROFILE)), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_damaged_colour_profile_is_read_or_dropped(noise: bytes, at: int, length: int) -> None:
    damaged = PROFILE[:at] + noise + PROFILE[at + length :]
    for profile in (noise, damaged):
        clean = icc.colours_only(profile)
        assert icc.colours_only(clean) == clean


def test_a_profile_that_is_a_bomb_costs_no_memory() -> None:
    bomb = b"x\0\0" + zlib.compress(bytes(200_000_000), 9)
    picture = samples.encoded(PICTURE, "PNG")
    planted = picture[:33] + png_chunk(b"iCCP", bomb) + picture[33:]
    assert metadata.strip("image/png", planted) == metadata.strip("image/png", picture)
