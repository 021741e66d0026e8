"""`cleanup.cache`: removes digests of photos whose cached results are gone.

Redis forgets results by itself. The streams that find look-alikes outlive them, since a new photo renews its stream:
they would fill with digests that lead nowhere, and every worker would compare with them.
"""

from eco2.contracts.tasks import Outcome
from eco2.core import redis
from eco2.core.settings import CacheSettings
from eco2.scan.vision import cache, look_index


async def run(_argument: str) -> Outcome:
    """Remove entries of look-alikes that have no result any more."""
    looked, removed = 0, 0
    async with redis.connect(CacheSettings().redis_cache_url, decode_responses=False) as client:
        async for name in client.scan_iter(match=f"{look_index.PREFIX}*", count=500):
            stream, start = bytes(name).decode(), b"-"
            version = stream.removeprefix(look_index.PREFIX)
            while page := await look_index.entries(client, stream, start):
                looked += len(page)
                start = b"(" + page[-1][0]
                digests = [look_index.digest_of(look_index.photo_of(entry)) for entry in page]
                kept = await client.mget([cache.result_key("vision", version, digest) for digest in digests])
                gone = [number for (number, _), result in zip(page, kept, strict=True) if result is None]
                if gone:
                    removed += await client.xdel(stream, *gone)
    return Outcome({"members": looked, "removed": removed})
