"""Photos for load: each one different to the byte and to the eye, so that no cache can take one for another."""

import io

import numpy as np
from PIL import Image

TINY = (96, 64)
THREE_MEGAPIXELS = (2048, 1536)


def photo(seed: int, size: tuple[int, int] = TINY) -> bytes:
    """A JPEG of soft random patches; a large one has grain as well, about 1 MB in all."""
    patches = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)
    if size == THREE_MEGAPIXELS:
        image = Image.blend(image, _grain(), 0.25)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


_grains: list[Image.Image] = []


def _grain() -> Image.Image:
    if not _grains:
        width, height = THREE_MEGAPIXELS
        noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        _grains.append(Image.fromarray(noise))
    return _grains[0]
