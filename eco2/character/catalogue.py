"""Answers that only change with a release, rendered once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from eco2.knowledge import Character


@dataclass(frozen=True)
class Rendered:
    """A JSON body and its headers."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, value: object) -> "Rendered":
        body = orjson.dumps(value)
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')

    @property
    def headers(self) -> dict[str, str]:
        return {"ETag": self.etag, "Cache-Control": "private, max-age=300"}

    def is_known(self, if_none_match: str) -> bool:
        """True when the client that sent this header has the body already."""
        tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return self.etag in tags or "*" in tags


def catalogue(characters: Sequence[Character]) -> Rendered:
    return Rendered.of([{"name": c.name, "type": c.type, "dialog": c.dialog, "match": c.match} for c in characters])
