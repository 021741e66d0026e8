"""Answers that change only with a release: rendered once, with an ETag, and not sent to clients that have them."""

import gzip
import hashlib
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

MAX_AGE = 300
WORTH_PACKING = 10_000
"""Bytes from which a body is kept in a packed form, too."""


def is_known(request: Request, etag: str) -> bool:
    """True when the client has the body with this ETag already."""
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return not tags.isdisjoint((etag.removeprefix("W/"), "*"))


@dataclass(frozen=True)
class Rendered:
    """A body and its headers. `packed`: the same by gzip."""

    body: bytes
    media_type: str
    headers: dict[str, str]
    packed: bytes | None = None

    @classmethod
    def json(cls, value: object) -> "Rendered":
        """For signed-in users."""
        return cls.of(orjson.dumps(value), "application/json", cache="private")

    @classmethod
    def of(cls, body: bytes, media_type: str, *, cache: str = "public") -> "Rendered":
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Cache-Control": f"{cache}, max-age={MAX_AGE}"}
        if len(body) < WORTH_PACKING:
            return cls(body, media_type, headers)
        # Weak: it stands for the same text in two forms.
        headers |= {"ETag": f"W/{etag}", "Vary": "Accept-Encoding"}
        return cls(body, media_type, headers, gzip.compress(body, mtime=0))

    def answer(self, request: Request) -> Response:
        if is_known(request, self.headers["ETag"]):
            return Response(status_code=304, headers=self.headers)
        if self.packed and "gzip" in request.headers.get("accept-encoding", ""):
            headers = {**self.headers, "Content-Encoding": "gzip"}
            return Response(self.packed, headers=headers, media_type=self.media_type)
        return Response(self.body, headers=self.headers, media_type=self.media_type)
