"""Requests to the object store that a scan costs: one HEAD, one GET, and one PUT of the public copy."""

from collections import Counter
from typing import Any
from unittest.mock import Mock

from eco2.core.storage import Storage
from eco2.photos import published


class _Bucket:
    """Counts what it is asked."""

    def __init__(self, name: str, asked: Counter[str]) -> None:
        self._name, self._asked = name, asked

    async def head(self, _key: str) -> Any:
        self._asked[f"head {self._name}"] += 1
        return Mock()

    async def get(self, _key: str, _limit: int) -> bytes:
        self._asked[f"get {self._name}"] += 1
        return b"photo"

    async def create(self, _key: str, _data: bytes, _content_type: str) -> bool:
        self._asked[f"put {self._name}"] += 1
        return True


async def test_a_scan_asks_the_store_three_times() -> None:
    asked = Counter[str]()
    storage = Mock(uploads=_Bucket("uploads", asked), public=_Bucket("public", asked))

    async def inspect(data: bytes) -> tuple[bytes, str]:
        return data, "image/jpeg"

    await Storage.find(storage, "scan/a.jpg")  # at the submission
    await published.take(storage, "scan/a.jpg", inspect)  # in the worker
    assert asked == {"head uploads": 1, "get uploads": 1, "put public": 1}
