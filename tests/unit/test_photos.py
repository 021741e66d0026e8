import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eco2.core.errors import AppError
from eco2.photos import check as photos
from eco2.photos import metadata, reading
from eco2.photos.containers import Malformed
from tests import photos as samples

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "HEIF"]
TYPES = dict(zip(KINDS, ["image/jpeg", "image/png", "image/webp", "image/gif", "image/heic"], strict=True))


def check(data: bytes) -> photos.PhotoInfo:
    return reading.inspect(data)[0]


def decode(data: bytes, target: int) -> Image.Image:
    return reading.decode(reading.inspect(data)[1], target)


def strip_metadata(data: bytes) -> bytes | None:
    clean = reading.inspect(data)[1]
    return None if clean is data else clean


@pytest.mark.parametrize("kind", KINDS)
def test_accepted_types_are_known_by_their_bytes(kind: str) -> None:
    info = check(samples.encoded(samples.picture(), kind))
    assert info == photos.PhotoInfo(TYPES[kind], 96, 64)
    assert info.content_type in photos.CONTENT_TYPES


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    data = samples.animated(kind)
    difference = np.abs(_pixels(decode(data, 64)) - _pixels(samples.picture(seed=0))).mean()
    assert difference < np.abs(_pixels(decode(data, 64)) - _pixels(samples.picture(seed=1))).mean()


@pytest.mark.parametrize(
    "data",
    [
        samples.SVG,
        samples.PDF,
        samples.HTML,
        b"just text",
        b"\0" * 100,
        b"BM" + bytes(100),
        b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B",
        b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        samples.encoded(samples.picture(), "TIFF"),
    ],
)
def test_other_types_are_refused(data: bytes) -> None:
    for refuse in (check, strip_metadata, lambda data: decode(data, 64)):
        with pytest.raises(photos.PhotoTypeRefused) as caught:
            refuse(data)
        assert (caught.value.status, caught.value.code) == (415, "IMAGE_TYPE_NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (samples.PDF, "JPEG"),
        (b"", "비어"),
        (samples.jpeg()[:300], "손상"),
        (b"\xff\xd8\xff" + bytes(photos.MAX_BYTES), "15 MB"),
        (samples.png_header(10_000, 6_401), "6,400만 화소"),
    ],
)
def test_what_is_refused_tells_a_citizen_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(AppError) as caught:
        check(data)
    assert words in caught.value.message
    assert caught.value.message.endswith("올려 주세요.")


def test_html_behind_a_gif_magic_is_broken() -> None:
    with pytest.raises(photos.PhotoBroken):
        check(b"GIF89a/*" + samples.HTML)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\4\0\0\0WEBP"])
def test_empty_files_are_broken(data: bytes) -> None:
    with pytest.raises(photos.PhotoBroken) as caught:
        check(data)
    assert (caught.value.status, caught.value.code) == (422, "IMAGE_UNREADABLE")


def _likeness(data: bytes, expected: Image.Image) -> float:
    """Mean difference of the pixels."""
    return float(np.abs(_pixels(decode(data, 320)) - _pixels(expected)).mean())


SECRET = b"37.5665N 126.9780E"


def _smooth(kind: str) -> bytes:
    options = {"GIF": {"interlace": 0}, "JPEG": {"quality": 90}}
    return samples.encoded(samples.picture().resize((400, 320)), kind, **options.get(kind, {}))


@pytest.mark.parametrize(
    ("kind", "end", "trailer"),
    [
        ("JPEG", 2, b""),
        ("JPEG", 2, b"SEFT" + SECRET + bytes(9)),
        ("JPEG", 2, b"\0\0" + SECRET + samples.jpeg()),
        ("JPEG", 2, b"\xff\xff\0" + SECRET + samples.jpeg()[:200]),
        ("PNG", 12, b""),
        ("PNG", 12, SECRET),
        ("PNG", 12, struct.pack(">I", len(SECRET)) + b"teXt" + SECRET),
        ("PNG", 16, b""),
        ("GIF", 1, b""),
        ("GIF", 1, b"@" + SECRET),
        ("WEBP", 0, SECRET),
        ("HEIF", 0, SECRET),
        ("HEIF", 0, b"\0\1\0\0abcd" + SECRET),
    ],
)
def test_a_complete_photo_without_its_end_is_shown_and_nothing_else(kind: str, end: int, trailer: bytes) -> None:
    picture = _smooth(kind)
    given = picture[: len(picture) - end] + trailer
    info, clean = reading.inspect(given)
    assert _likeness(clean, decode(picture, 320)) < (2 if kind == "JPEG" else 0.001)
    assert (info.content_type, info.width, info.height) == (TYPES[kind], 400, 320)
    assert SECRET not in clean
    assert check(clean) == info


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_of_a_cut_photo_is_shown_what_can_be_seen(kind: str, part: float) -> None:
    picture = _smooth(kind)
    shown, whole = (_pixels(decode(data, 320)) for data in (picture[: int(len(picture) * part)], picture))
    assert shown.shape == whole.shape
    top = slice(0, int(320 * part * 0.7))
    assert np.abs(shown[top] - whole[top]).mean() < 5


@pytest.mark.parametrize(
    ("kind", "until"),
    [("JPEG", b"\xff\xda\0\x0c"), ("PNG", b"IDAT"), ("GIF", b"\x2c\0\0\0\0"), ("WEBP", b""), ("HEIF", b"")],
)
def test_a_photo_of_which_nothing_can_be_seen_is_broken(kind: str, until: bytes) -> None:
    picture = _smooth(kind)
    with pytest.raises(photos.PhotoBroken):
        check(picture[: picture.index(until) + len(until) if until else len(picture) // 2])


def test_fifty_megabytes_are_too_large() -> None:
    data = samples.jpeg() + bytes(50_000_000)
    with pytest.raises(photos.PhotoTooLarge, match="15 MB") as caught:
        check(data)
    assert (caught.value.status, caught.value.code) == (413, "IMAGE_TOO_LARGE")


@pytest.mark.parametrize(
    "data",
    [
        samples.png_header(10_000, 6_401),
        samples.png_header(16_000, 16_000),
        samples.png_header(50_000_000, 1),
        samples.png_header(1, 16_385),
        samples.webp_header(16_000, 12_500),
        samples.webp_header(7_000, 7_000),
        samples.encoded(samples.picture(), "GIF").replace(
            struct.pack("<HH", 96, 64), struct.pack("<HH", 10_000, 10_000)
        ),
    ],
)
def test_pixel_bombs_cost_no_memory(data: bytes) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _peak_memory()
    tracemalloc.start()
    with pytest.raises(photos.PhotoTooLarge, match=r"6,400만 화소|3,3..만 화소|긴 변이 16,384픽셀"):
        check(data)
    with pytest.raises(photos.PhotoTooLarge):
        reading.decode(data, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert _peak_memory() - before < 20_000_000


def test_sixty_four_megapixels_are_accepted() -> None:
    assert check(samples.png_header(10_000, 6_400)).width == 10_000
    assert check(samples.png_header(16_384, 3_900)).width == 16_384


@pytest.mark.parametrize("progressive", [False, True])
def test_a_phone_of_fifty_megapixels_is_read_within_the_memory_of_a_photo(progressive: bool) -> None:
    data = samples.encoded(Image.new("RGB", (8160, 6144), "gray"), "JPEG", progressive=progressive)
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_memory()
    assert check(data) == photos.PhotoInfo("image/jpeg", 8160, 6144)
    assert decode(data, 768).size == (1020, 768)
    assert _peak_memory() - before < (200_000_000 if progressive else 40_000_000)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_colour_models(mode: str) -> None:
    _assert_same(decode(samples.encoded(samples.picture(mode=mode), "JPEG"), 64), samples.picture(), mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_png_colour_models(mode: str) -> None:
    if mode == "I;16":
        values = np.asarray(samples.picture(mode="L"), np.uint16) * 257
        image = Image.fromarray(values)
    else:
        image = samples.picture(mode=mode)
    _assert_same(decode(samples.encoded(image, "PNG"), 64), samples.picture(), mode)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "HEIF"])
def test_transparency_is_shown_over_white(kind: str) -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert decode(samples.encoded(clear, kind), 64).getpixel((9, 9)) == (255, 255, 255)


def test_transparent_palette_is_shown_over_white() -> None:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([0, 0, 0, 9, 9, 9])
    data = samples.encoded(image, "GIF", transparency=0)
    assert decode(data, 64).getpixel((9, 9)) == (255, 255, 255)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1000, 700), (100, 80)])
def test_large_photos_are_reduced_to_about_the_target(kind: str, size: tuple[int, int]) -> None:
    image = decode(samples.encoded(samples.picture(*size), kind), 200)
    assert image.mode == "RGB"
    assert min(200, min(size)) <= min(image.size) < 600
    assert abs(image.width / image.height - size[0] / size[1]) < 0.02


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_survives_stripping(kind: str, orientation: int) -> None:
    data = samples.encoded(samples.picture(), kind, exif=samples.exif(orientation))
    stripped = strip_metadata(data)
    assert stripped is not None
    image = decode(data, 64)
    assert image.size == ((96, 64) if orientation < 5 else (64, 96))
    assert (_pixels(decode(stripped, 64)) == _pixels(image)).all()
    # An independent reader sees the same: Pillow's own.
    with Image.open(io.BytesIO(stripped)) as seen:
        assert seen.getexif().get(0x0112, 1) == orientation
        assert dict(seen.getexif()).keys() <= {0x0112}


def test_heic_orientation_is_applied_once() -> None:
    data = samples.heic(exif=samples.exif(6))
    stripped = strip_metadata(data)
    assert stripped is not None
    assert decode(data, 64).size == decode(stripped, 64).size == (64, 96)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_metadata_is_removed_without_loss(kind: str, orientation: int) -> None:
    data = samples.with_metadata(kind, orientation)
    assert any(secret in data for secret in samples.SECRETS)
    stripped = strip_metadata(data)
    assert stripped is not None
    assert not any(secret in stripped for secret in samples.SECRETS)
    assert strip_metadata(stripped) is None
    assert (_pixels(decode(stripped, 64)) == _pixels(decode(data, 64))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_photo_has_nothing_to_remove(kind: str) -> None:
    clean = strip_metadata(samples.encoded(samples.picture(), kind))
    assert clean is None or strip_metadata(clean) is None


def test_polyglot_gif_loses_its_page() -> None:
    stripped = strip_metadata(samples.gif_with_html())
    assert stripped is not None
    assert b"<script>" not in stripped
    assert check(stripped).content_type == "image/gif"


@pytest.mark.parametrize("progressive", [True, False])
def test_jpeg_with_many_scans_and_restarts(progressive: bool) -> None:
    data = samples.jpeg(400, 300, progressive=progressive, restart_marker_rows=1, exif=samples.exif())
    stripped = strip_metadata(data)
    assert stripped is not None
    assert (_pixels(decode(stripped, 300)) == _pixels(decode(data, 300))).all()


def test_jpeg_thumbnail_is_removed() -> None:
    data = samples.jpeg()
    assert data[6:11] == b"JFIF\0"
    thumbnail = b"\1\1" + b"\xaa\xbb\xcc"
    fat = data[:4] + struct.pack(">H", 19) + data[6:18] + thumbnail + data[20:]
    assert strip_metadata(fat) == data


def _bomb_entries(count: int) -> bytes:
    return b"MM\0*" + struct.pack(">IH", 8, count) + struct.pack(">HHII", 0x0110, 2, 0xFFFFFFFF, 0) * 5000


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0" + _bomb_entries(65535),
        b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 99, 0, 8),
    ],
)
def test_hostile_exif_is_removed(block: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    data = samples.jpeg()
    hostile = data[:2] + segment + data[2:]
    assert strip_metadata(hostile) == data
    assert decode(hostile, 64).size == (96, 64)


def test_heic_items_outside_the_file_are_broken() -> None:
    data = samples.heic(exif=samples.exif())
    at = data.index(b"iloc") - 4
    hostile = data[: at + 16] + b"\xff" * 40 + data[at + 56 :]
    with pytest.raises(photos.PhotoBroken):
        strip_metadata(hostile)


def test_a_reader_that_appends_pictures_gets_the_first() -> None:
    """Phones append more pictures (depth, gain map) to a JPEG, with metadata of their own."""
    data = samples.jpeg()
    assert strip_metadata(data + samples.with_metadata("JPEG")) == data


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(_SEEDS[draw(st.sampled_from(KINDS))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        data = data or bytearray(b"\0")
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


_SEEDS = {kind: samples.with_metadata(kind, orientation=6) for kind in KINDS}


# Pillow warns of damaged animations and shows the still picture.
@pytest.mark.filterwarnings("ignore:Invalid APNG:UserWarning")
@given(_damaged())
@settings(max_examples=400, deadline=None)
def test_damaged_photos_raise_only_our_errors(data: bytes) -> None:
    assert _status(check, data) in (200, 413, 415, 422)
    assert _status(lambda data: decode(data, 48), data) in (200, 413, 415, 422)
    assert _status(_strip_twice, data) in (200, 413, 415, 422)


def _status(work: Callable[[bytes], object], data: bytes) -> int:
    try:
        work(data)
    except AppError as error:
        return error.status
    return 200


def _strip_twice(data: bytes) -> None:
    stripped = strip_metadata(data)
    assert stripped is None or strip_metadata(stripped) is None


def test_a_jpeg_whose_components_have_no_size_is_broken() -> None:
    data = samples.encoded(samples.picture(), "JPEG", progressive=True)
    frame = data.index(b"\xff\xc2")
    for factors in range(3):
        at = frame + 11 + 3 * factors
        data = data[:at] + b"\0" + data[at + 1 :]
    with pytest.raises(photos.PhotoBroken):
        decode(data, 64)


@given(st.sampled_from(sorted(photos.CONTENT_TYPES)), st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_noise_behind_a_magic_is_malformed_or_stripped(content_type: str, noise: bytes) -> None:
    magic = _SEEDS[{value: key for key, value in TYPES.items()}.get(content_type, "HEIF")][:24]
    for data in (noise, magic + noise):
        try:
            metadata.strip(content_type, data)
        except Malformed:
            continue


def _pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(image, np.int16)


def _assert_same(image: Image.Image, expected: Image.Image, mode: str) -> None:
    """Alike but for what the mode loses: colour, and the dots of a two-colour picture."""
    got, wanted = (_pixels(one.convert("L").resize((6, 4), Image.Resampling.BOX)) for one in (image, expected))
    assert image.mode == "RGB"
    assert np.abs(got - wanted).max() < (40 if mode == "1" else 20 if mode == "P" else 8)


def _peak_memory() -> int:
    """Bytes, of this process so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_jpeg_with_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan is decoded over the whole photo: a file of 1 MB could keep a worker busy for minutes."""
    data = samples.encoded(samples.picture(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 200 + data[-2:]
    assert decode(data, 224).size
    with pytest.raises(photos.PhotoBroken):
        decode(bomb, 224)
    with pytest.raises(photos.PhotoBroken):
        strip_metadata(bomb)
