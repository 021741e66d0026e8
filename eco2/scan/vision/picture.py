"""A photo while it is looked at. Decoding is most of what a large one costs, so whoever decodes it leaves the hash."""

import base64
import hashlib
import io

from PIL import Image

from eco2 import photos
from eco2.scan.vision.phash import phash

LONGEST_SIDE, SHORTER_SIDE, JPEG_QUALITY = 1024, 768, 85


class Picture:
    """The methods block, and raise the errors of `eco2.photos.check.decode`. For one thread at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = hashlib.sha256(data).hexdigest()
        self.phash: int | None = None
        """Known once the photo was decoded."""
        self.url: str | None = None
        """Known after `make_url`."""

    def decode(self, target: int) -> Image.Image:
        """As `eco2.photos.check.decode`; `target` is at least `eco2.scan.vision.phash.SIDE`."""
        image = photos.decode(self.data, target)
        if self.phash is None:
            self.phash = phash(image)
        return image

    def make_url(self) -> str:
        """A data URL of the photo as a JPEG that is small enough to be cheap for a paid model."""
        image = self.decode(SHORTER_SIDE)
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=JPEG_QUALITY)
        self.url = "data:image/jpeg;base64," + base64.b64encode(out.getbuffer()).decode()
        return self.url
