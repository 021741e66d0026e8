"""Photos that a paid model has looked at, to be found again by likeness.

A stream in the cache Redis holds hash and digest of each, MOST of one version. Every worker follows it with a copy of
its own, in which it compares a photo with all of them: exact, and as fast for the last one as for the first. A set for
each part of a hash took 75 commands and 5 kB a photo.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
from redis.asyncio import Redis

from eco2.scan.vision.phash import BITS

MOST = 20_000
"""Photos of a version among which a look-alike is searched: the newest. Comparing all takes less than 0.1 ms."""
PAGE = 1000
PREFIX = "scan:looks:"
FIELD = b"photo"
_HASH_BYTES, _DIGEST_BYTES = BITS // 8, 32

Entry = tuple[bytes, Sequence[bytes] | dict[bytes, bytes]]
"""An entry of the stream, its fields as a script or as a command gives them."""


def stream(version: str) -> str:
    return PREFIX + version


async def entries(redis: Redis, stream: str, start: bytes) -> Sequence[Entry]:
    """A PAGE of entries from there on; "(" before an id leaves it out."""
    return cast(Sequence[Entry], await redis.xrange(stream, start, "+", count=PAGE))


def photo_of(entry: Entry) -> bytes:
    """Hash and digest, packed; empty where it has another form."""
    fields = entry[1]
    photo = fields.get(FIELD, b"") if isinstance(fields, dict) else fields[1]
    return photo if len(photo) == _HASH_BYTES + _DIGEST_BYTES else b""


def packed(phash: int, digest: str) -> bytes:
    return phash.to_bytes(_HASH_BYTES) + bytes.fromhex(digest)


def digest_of(photo: bytes) -> str:
    return photo[_HASH_BYTES:].hex()


class LookIndex:
    """A worker's copy of the stream of one version."""

    def __init__(self) -> None:
        self.newest = b"0-0"
        """Id of the newest entry that is here."""
        self._hashes = np.zeros((BITS // 64, MOST), np.uint64)
        self._digests = np.zeros((MOST, _DIGEST_BYTES), np.uint8)
        self._added = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Take over entries in their order; those that are here already change nothing."""
        for entry in entries:
            if _order(entry[0]) <= _order(self.newest):
                continue
            self.newest = entry[0]
            photo = photo_of(entry)
            if not photo:
                continue
            place = self._added % MOST  # the oldest makes room
            self._hashes[:, place] = np.frombuffer(photo[:_HASH_BYTES], np.uint64)
            self._digests[place] = np.frombuffer(photo[_HASH_BYTES:], np.uint8)
            self._added += 1

    def near(self, phash: int, bits: int) -> list[str]:
        """Digests of photos whose hashes differ in at most so many bits, the nearest first."""
        own = np.frombuffer(phash.to_bytes(_HASH_BYTES), np.uint64)
        known = min(self._added, MOST)
        distances = np.zeros(known, np.uint16)
        for part, hashes in zip(own, self._hashes[:, :known], strict=True):
            distances += np.bitwise_count(hashes ^ part)
        found = np.flatnonzero(distances <= bits)
        return [self._digests[place].tobytes().hex() for place in found[np.argsort(distances[found], kind="stable")]]


def _order(number: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = number.partition(b"-")
    return int(milliseconds), int(sequence)
