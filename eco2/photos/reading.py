"""Opening and decoding of photos with Pillow.

Uploads are opened in decoding processes only (`eco2.photos.pool`), our own files in any process. Size,
pixels and the memory that decoding will take are checked on the header, before anything is decoded.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from pillow_heif import options
from pillow_heif.as_plugin import HeifImageFile

from eco2.photos import metadata
from eco2.photos.check import MAX_PIXELS, MAX_SIDE, PhotoBroken, PhotoInfo, PhotoTooLarge, check_bytes, sniff
from eco2.photos.containers import Malformed, Refused, orientation
from eco2.photos.views import Opened, Wanted

options.DECODE_THREADS = 1  # a process decodes one photo on one core; threads take memory of their own

MEMORY = 512 * 1024**2
"""Default bound of what decoding one photo may take."""

# Opened by class instead of Image.open: no other decoder can be reached, and a JPEG with appended pictures (MPO)
# is read as the JPEG that it begins with.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/png": PngImagePlugin.PngImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/heic": HeifImageFile,
    "image/heif": HeifImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
}
_NAMES = {"image/png": "PNG", "image/webp": "WebP", "image/gif": "GIF", "image/heic": "HEIC", "image/heif": "HEIC"}

# What the readers raise on files that are cut or tampered with (found by fuzzing; Pillow documents no base class).
_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Peak bytes a pixel while a photo is decoded, measured: what Pillow keeps, the decoder's own buffers, one conversion.
_PNG_BYTES = {"L": 1, "1": 5, "P": 5, "PA": 8, "LA": 4, "RGB": 4, "RGBA": 4, "I;16": 6, "I": 6}
_BYTES_A_PIXEL = {"image/webp": 16, "image/heic": 9, "image/heif": 9, "image/gif": 9}
_THIN_BYTES = 9
"""More where the shorter side is too short to be reduced: transparency is then laid over white at full size."""

_START_OF_SCAN = b"\xff\xda"

Size = tuple[int, int]

_USUAL_SIDE = 768
_REBUILT_SIDE, _REBUILT_QUALITY = 2048, 90


@dataclass(frozen=True)
class _Source:
    """`damaged`: it does not follow its format, so that its container was not cleaned."""

    content_type: str
    data: bytes
    damaged: bool = False


def open_photo(data: bytes, wanted: Wanted, memory: int = MEMORY) -> Opened:
    """Everything that is wanted of an upload, in one decoding. Raises the three errors of `eco2.photos.check`."""
    if not wanted.checked:
        info, clean = inspect(data, memory)
    else:
        info, clean = None, data
    if not wanted.views:
        return Opened(info, clean)
    image = decode(clean, wanted.side, memory)
    return Opened(info, clean, **_views(image, wanted))


def _views(image: Image.Image, wanted: Wanted) -> dict[str, bytes]:
    found = {}
    if wanted.grey:
        found["grey"] = grey(image, wanted.grey)
    if wanted.square:
        found["square"] = square(image, wanted.square)
    if wanted.jpeg:
        image.thumbnail((wanted.jpeg.longest, wanted.jpeg.longest), Image.Resampling.BICUBIC)
        found["jpeg"] = _jpeg(image, wanted.jpeg.quality)
    return found


def grey(image: Image.Image, side: int) -> bytes:
    """Grey, the whole photo squeezed into a square; what hashes are made of."""
    return image.convert("L").resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0).tobytes()


def square(image: Image.Image, side: int) -> bytes:
    """RGB, the whole photo squeezed into a square."""
    return image.resize((side, side), Image.Resampling.BICUBIC).tobytes()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def inspect(data: bytes, memory: int = MEMORY) -> tuple[PhotoInfo, bytes]:
    """Kind of the photo, and the copy that may be public: nothing but the still picture, `data` itself when that is
    all there is. A file that does not follow its format is decoded as far as that goes, and encoded anew."""
    content_type = check_bytes(data)
    try:
        clean = metadata.strip(content_type, data)
        if sniff(clean[:64]) != content_type:
            raise Malformed
    except Refused as error:
        raise PhotoBroken from error
    except Malformed:
        content_type, clean = "image/jpeg", _rebuilt(_Source(content_type, data, damaged=True), memory)
    with _tolerant(True), _opened(_Source(content_type, clean), _USUAL_SIDE, memory) as (_, (width, height)):
        pass
    return PhotoInfo(content_type, width, height), data if clean == data else clean


def _rebuilt(source: _Source, memory: int) -> bytes:
    """Picture that can be seen of a damaged file, as a new JPEG."""
    return _jpeg(_decoded(source, _REBUILT_SIDE, memory), _REBUILT_QUALITY)


def decode(data: bytes, target: int, memory: int = MEMORY) -> Image.Image:
    """RGB, upright, first frame, transparency over white. `data`: as `inspect` leaves it, or as trusted.

    The shorter side is at least `target` pixels where the photo has as many, and less than three times as many.
    """
    return _decoded(_Source(check_bytes(data), data), target, memory)


def _decoded(source: _Source, target: int, memory: int) -> Image.Image:
    """As much of it as can be seen. PhotoBroken where that is nothing."""
    try:
        return _loaded(source, target, memory, whole=True)
    except PhotoBroken:
        image = _loaded(source, target, memory, whole=False)
        if image.getcolors(maxcolors=1) is not None:
            raise
        return image


def _loaded(source: _Source, target: int, memory: int, *, whole: bool) -> Image.Image:
    with _tolerant(not whole), _opened(source, target, memory) as (image, _), _our_errors():
        image.load()
        found = _upright(_rgb(image, target), image)
    found.info = {}  # comments among it, which Pillow would write again
    return found


@contextlib.contextmanager
def _opened(source: _Source, target: int, memory: int) -> Iterator[tuple[ImageFile.ImageFile, Size]]:
    """(what `load` decodes, size of the photo): the header is read, its limits are checked."""
    if source.content_type == "image/webp":
        _check_webp(source.data, memory)
    with _our_errors():
        image = _READERS[source.content_type](io.BytesIO(source.data))
    with image:
        size = image.size
        _check_size(*size)
        with _our_errors():
            image.draft("RGB", (target, target))
        _check_cost(source, image, size, target, memory)
        yield image, size


@contextlib.contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except _BOMB as error:
        raise _too_many_pixels(MAX_PIXELS) from error
    except _READ_ERRORS as error:
        raise PhotoBroken from error


@contextlib.contextmanager
def _tolerant(cut: bool) -> Iterator[None]:
    """Pillow shows what there is of a damaged picture only where this global says so; either way it warns."""
    ImageFile.LOAD_TRUNCATED_IMAGES = cut
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise PhotoTooLarge(
            f"사진의 긴 변이 {MAX_SIDE:,}픽셀보다 길어요. 더 작은 사진을 올려 주세요.",
            english=f"The longer side of the photo has more than {MAX_SIDE:,} pixels. Upload a smaller one.",
        )
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(MAX_PIXELS)


def _too_many_pixels(limit: int, kind: str = "") -> PhotoTooLarge:
    name = f"{kind} 사진" if kind else "사진"
    photo = f"A photo in {kind}" if kind else "The photo"
    return PhotoTooLarge(
        f"{name}이 {limit // 10_000:,}만 화소보다 커요. 더 작은 사진을 올려 주세요.",
        english=f"{photo} may have at most {limit // 100_000 / 10:g} megapixels. Upload a smaller one.",
    )


def _check_webp(data: bytes, memory: int) -> None:
    """Its reader takes the memory of the whole picture as soon as it is made, so the size is read before."""
    kind, _, head = struct.unpack_from("<4sI10s", data.ljust(30, b"\0"), 12)
    numbers = {
        b"VP8X": (1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")),
        b"VP8L": tuple(1 + (int.from_bytes(head[1:5], "little") >> shift & 0x3FFF) for shift in (0, 14)),
        b"VP8 ": tuple(int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8)),
    }
    width, height = numbers.get(kind, (0, 0))
    _check_size(width, height)
    most = (memory - 3 * len(data)) // _BYTES_A_PIXEL["image/webp"]
    if width * height > most:
        raise _too_many_pixels(most, _NAMES["image/webp"])


def _check_cost(source: _Source, image: ImageFile.ImageFile, size: Size, target: int, memory: int) -> None:
    """Refuse what would not fit, or would take minutes. The file itself is there up to three times."""
    left = memory - 3 * len(source.data)
    pixels = image.width * image.height
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if source.damaged and source.data.count(_START_OF_SCAN) > metadata.MAX_SCANS:
            raise PhotoBroken
        if 8 * pixels + _coefficients(source, image, size) > left:
            raise PhotoTooLarge(
                "여러 단계로 저장된(progressive) JPEG치고 너무 커요. 더 작은 사진을 올려 주세요.",
                english="This photo is too large for a progressive JPEG. Upload a smaller one.",
            )
        return
    each = _PNG_BYTES.get(image.mode, 8) if source.content_type == "image/png" else _BYTES_A_PIXEL[source.content_type]
    if min(image.size) < 2 * target:
        each += _THIN_BYTES
    if each * pixels > left:
        raise _too_many_pixels(left // each, _NAMES[source.content_type])


def _coefficients(source: _Source, image: JpegImagePlugin.JpegImageFile, size: Size) -> int:
    """Bytes of the coefficients that a JPEG of several scans keeps for the whole photo, however small it is decoded."""
    first = source.data.find(_START_OF_SCAN)
    whole = source.data[first + 4 : first + 5] == bytes([image.layers])  # of all colours
    if whole and not image.info.get("progressive"):
        return 0
    factors = [(across, down) for _, across, down, _ in image.layer]
    widest = max(1, max(across for across, _ in factors) * max(down for _, down in factors))
    return 2 * size[0] * size[1] * sum(across * down for across, down in factors) // widest


def _rgb(image: Image.Image, target: int) -> Image.Image:
    transparent = image.has_transparency_data
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode.startswith("I"):
        image = image.convert("I")
    if (factor := min(image.size) // target) > 1:
        image = image.reduce(factor)
    if image.mode == "I":
        image = image.point(lambda value: value / 256).convert("L")
    if not transparent:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _upright(image: Image.Image, source: ImageFile.ImageFile) -> Image.Image:
    if isinstance(source, HeifImageFile):
        return image  # its decoder has turned it already
    turn = _TURN.get(orientation(source.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)
