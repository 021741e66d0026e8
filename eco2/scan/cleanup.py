"""`cleanup.cache`: what the result cache keeps about photos whose results are gone.

Redis forgets results by itself. The sets that find near-duplicates outlive them, because a new photo renews its sets:
they would fill with digests that lead nowhere, and every search would read them.
"""

from eco2.contracts.tasks import Outcome
from eco2.core import redis
from eco2.core.settings import CacheSettings
from eco2.scan.vision import cache

BATCH = 500


async def run(_argument: str) -> Outcome:
    """Remove members of near-duplicate sets that have no result any more."""
    looked, removed = 0, 0
    async with redis.connect(CacheSettings().redis_cache_url, decode_responses=False) as client:
        async for name in client.scan_iter(match=f"{cache.NEAR_PREFIX}*", count=BATCH):
            members: list[bytes] = list(await client.smembers(name))  # type: ignore[arg-type]
            looked += len(members)
            version = cache.version_of(bytes(name).decode())
            keys = [cache.result_key("vision", version, member[32:].decode()) for member in members]
            kept = await client.mget(keys) if keys else []
            gone = [member for member, result in zip(members, kept, strict=True) if result is None]
            if gone:
                removed += await client.srem(name, *gone)
    return Outcome({"members": looked, "removed": removed})
