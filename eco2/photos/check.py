"""Photos that users upload: accepted types and limits, and the errors that say so. Only first bytes are read."""

from dataclasses import dataclass

from eco2.core.errors import AppError

MAX_BYTES = 15 * 1024 * 1024
MAX_PIXELS = 64_000_000
MAX_SIDE = 16_384

CONTENT_TYPES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/gif": "gif",
}

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_HEIF_BRANDS = {b"mif1", b"msf1"}


class PhotoTooLarge(AppError):
    """사진이 너무 커요. 15 MB, 6,400만 화소, 긴 변 16,384픽셀 이하의 사진을 올려 주세요."""

    status = 413
    code = "IMAGE_TOO_LARGE"
    english = "The photo is too large. Upload one of at most 15 MB, 64 megapixels and 16,384 pixels on its longer side."


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


def check_bytes(data: bytes) -> str:
    """The content type of a file of acceptable length. Raises all three errors."""
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
    return sniff(data[:64])


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
