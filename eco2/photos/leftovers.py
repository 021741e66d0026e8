"""Photos that are no longer needed: uploads that were not used in time, and public copies without a reference.

The buckets are listed, without a record of every photo: that works on any store, and finds leftovers of a crash.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from eco2.core.storage import Bucket, Found

Kept = Callable[[Sequence[Found]], Awaitable[set[str]]]
"""Those of the objects that are still needed, by key."""


async def remove(bucket: Bucket, channel: str, before: datetime, kept: Kept) -> int:
    """Delete the photos of the channel that were written before then and are not `kept`; how many there were."""
    removed = 0
    async for chunk in bucket.listed(channel):
        old = [found for found in chunk if found.modified < before]
        gone = [] if not old else sorted({found.key for found in old} - await kept(old))
        if gone:
            await bucket.delete(gone)
            removed += len(gone)
    return removed
