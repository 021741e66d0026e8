"""Photos that users upload: what is accepted, how they are opened within bounds, and how they lose their metadata."""

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from pillow_heif.as_plugin import HeifImageFile

from eco2.core.errors import AppError
from eco2.photos import metadata

MAX_BYTES = 15 * 1024 * 1024
MAX_PIXELS = 50_000_000

CONTENT_TYPES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/gif": "gif",
}

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
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_HEIF_BRANDS = {b"mif1", b"msf1"}

# What the readers raise on files that are cut or tampered with (found by fuzzing; Pillow documents no base class).
_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
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


class PhotoTooLarge(AppError):
    """사진이 너무 커요. 15 MB, 5,000만 화소 이하의 사진을 올려 주세요."""

    status = 413
    code = "IMAGE_TOO_LARGE"
    english = "The photo is too large. Upload one of at most 15 MB and 50 megapixels."


class PhotoTypeRefused(AppError):
    """읽을 수 없는 파일이에요. JPEG, PNG, WebP, HEIC, GIF 사진을 올려 주세요."""

    status = 415
    code = "IMAGE_TYPE_NOT_SUPPORTED"
    english = "This file cannot be read. Upload a JPEG, PNG, WebP, HEIC or GIF photo."


class PhotoBroken(AppError):
    """사진 파일이 손상됐어요. 다시 찍거나 다시 올려 주세요."""

    status = 422
    code = "IMAGE_UNREADABLE"
    english = "The photo file is damaged. Take the photo again or upload it again."


@dataclass(frozen=True)
class PhotoInfo:
    """Size in pixels as stored, before the orientation is applied."""

    content_type: str
    width: int
    height: int
    frames: int


def sniff(head: bytes) -> str:
    """The content type by the first bytes (64 suffice). Raises PhotoTypeRefused."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _heif_type(head)
    raise PhotoTypeRefused


def _heif_type(head: bytes) -> str:
    size = min(int.from_bytes(head[:4], "big"), len(head), 64)
    brand = head[8:12]
    compatible = {head[pos : pos + 4] for pos in range(16, size, 4)}
    if brand in _HEIC_BRANDS:
        return "image/heic"
    if brand in _HEIF_BRANDS and compatible & _HEIC_BRANDS:
        return "image/heif"
    raise PhotoTypeRefused  # AVIF and films have the same container


def check(data: bytes) -> PhotoInfo:
    """Bytes, type, container and pixels: nothing is decoded. Raises all three errors."""
    return inspect(data)[0]


def inspect(data: bytes) -> tuple[PhotoInfo, bytes | None]:
    """What `check` and `strip_metadata` give, in one pass over the file."""
    stripped = _stripped(data)
    clean = stripped or data
    with _open(clean) as image:
        # Pillow would seek through all frames of a GIF to count them.
        content_type = sniff(clean)
        is_gif = content_type == "image/gif"
        frames = metadata.gif_frames(clean) if is_gif else getattr(image, "n_frames", 1)
        return PhotoInfo(content_type, image.width, image.height, frames), stripped


def _stripped(data: bytes) -> bytes | None:
    """`strip_metadata` of what may be a photo at all. The readers see a tidy container only: no metadata to be misled
    by, no trailing data, no endless filling."""
    if not data:
        raise PhotoBroken(
            "파일이 비어 있어요. 사진을 다시 올려 주세요.", english="The file is empty. Upload the photo again."
        )
    if len(data) > MAX_BYTES:
        limit = f"{MAX_BYTES // 1024**2} MB"
        raise PhotoTooLarge(
            f"사진이 {limit}보다 커요. 더 작은 사진을 올려 주세요.",
            english=f"The photo is larger than {limit}. Upload a smaller one.",
        )
    return strip_metadata(data)


def _open(clean: bytes) -> ImageFile.ImageFile:
    """`clean`: as `_stripped` leaves it."""
    reader = _READERS[sniff(clean)]
    try:
        image = reader(io.BytesIO(clean))
    except _BOMB as error:
        raise _too_many_pixels() from error
    except _READ_ERRORS as error:
        raise PhotoBroken from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_many_pixels()
    return image


def _too_many_pixels() -> PhotoTooLarge:
    return PhotoTooLarge(
        f"사진이 {MAX_PIXELS // 10_000:,}만 화소보다 커요. 더 작은 사진을 올려 주세요.",
        english=f"The photo has more than {MAX_PIXELS // 1_000_000} megapixels. Upload a smaller one.",
    )


def decode(data: bytes, target: int) -> Image.Image:
    """RGB, upright, first frame, transparency over white. Raises the errors of `check`.

    The shorter side is at least `target` pixels where the photo has as many, and less than three times as many.
    """
    with _open(_stripped(data) or data) as image:
        try:
            image.draft("RGB", (target, target))
            image.load()
            return _upright(_rgb(image, target), image)
        except _BOMB as error:
            raise _too_many_pixels() from error
        except _READ_ERRORS as error:
            raise PhotoBroken from error


def _rgb(image: Image.Image, target: int) -> Image.Image:
    transparent = image.has_transparency_data
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    elif image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if transparent else "RGB")
    if (factor := min(image.size) // target) > 1:
        image = image.reduce(factor)
    if not transparent:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _upright(image: Image.Image, source: ImageFile.ImageFile) -> Image.Image:
    if isinstance(source, HeifImageFile):
        return image  # its decoder has turned it already
    turn = _TURN.get(metadata.orientation(source.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def strip_metadata(data: bytes) -> bytes | None:
    """The same photo without EXIF, GPS, XMP, comments and trailing data; None when there is nothing to remove.

    Lossless for every type; orientation and colour profile stay. Raises PhotoTypeRefused and PhotoBroken.
    """
    try:
        stripped = metadata.strip(sniff(data), data)
    except metadata.Malformed as error:
        raise PhotoBroken from error
    return None if stripped == data else stripped
