"""A photo in work. Decoding is most of the cost of a large one, so one decoding gives all results."""

import base64
import hashlib
from dataclasses import replace

from eco2.photos.pool import Decoders
from eco2.photos.views import Jpeg, Opened, Wanted
from eco2.scan.vision import network
from eco2.scan.vision import phash as hashes

SMALL = Jpeg(longest=1024, shorter=768, quality=85)
"""The copy that a paid model gets: small enough to be cheap."""
FOR_EMBEDDED = Wanted(grey=hashes.SIDE, square=network.SIDE)
FOR_PAID = Wanted(grey=hashes.SIDE, jpeg=SMALL)
FOR_BOTH = replace(FOR_PAID, square=network.SIDE)


class Picture:
    """A photo of one user. Its views come from a decoding process, `wanted` together; what asks for them raises the
    errors of `eco2.photos.check`, and DecodersDown."""

    def __init__(self, decoders: Decoders, user: object, wanted: Wanted, data: bytes = b"") -> None:
        self._decoders, self._user, self._wanted = decoders, user, wanted
        self._use(data)

    def _use(self, data: bytes) -> None:
        self.data = data
        self.digest = hashlib.sha256(data).hexdigest()
        self._phash: int | None = None
        self._square = self._jpeg = b""

    async def inspect(self, data: bytes) -> tuple[bytes, str]:
        """(public form, its content type) of an upload, which is the photo from now on, with its views."""
        opened = await self._decoders.open(data, self._wanted, self._user)
        assert opened.info is not None
        self._use(opened.clean)
        self._take(opened)
        return opened.clean, opened.info.content_type

    def keep(self, data: bytes) -> None:
        """`data`, a copy that was inspected before, is the photo."""
        if data is not self.data:
            self._use(data)

    async def phash(self) -> int:
        if self._phash is None:
            await self._open(self._wanted)
        assert self._phash is not None
        return self._phash

    async def square(self) -> bytes:
        """As the embedded model sees it: RGB, `eco2.scan.vision.network.SIDE` pixels square."""
        if not self._square:
            await self._open(self._wanted if self._wanted.square else FOR_EMBEDDED)
        return self._square

    async def url(self) -> str:
        """A data URL of the copy for a paid model."""
        if not self._jpeg:
            await self._open(self._wanted if self._wanted.jpeg else FOR_PAID)
        return "data:image/jpeg;base64," + base64.b64encode(self._jpeg).decode()

    async def _open(self, wanted: Wanted) -> None:
        self._take(await self._decoders.open(self.data, replace(wanted, checked=True), self._user))

    def _take(self, opened: Opened) -> None:
        self._square, self._jpeg = opened.square or self._square, opened.jpeg or self._jpeg
        if self._phash is None:
            self._phash = hashes.phash(opened.grey)
