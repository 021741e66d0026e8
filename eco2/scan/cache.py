"""Results by image content: what was paid for once is not paid for again within 7 days.

A vision result is found by the exact bytes, or, for a paid model, by a perceptual hash within NEAR_BITS: a photo
that was cropped by a pixel, scaled or saved again. The version in the key names model, prompt and taxonomy, so a
change of any of them starts afresh. Callers of the same key at the same time share one call, across processes.

Redis being away costs money, never a job: then every call is made.
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import orjson
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.scan.phash import BITS, bands

log = logging.getLogger(__name__)

Json = dict[str, Any]
Source = Literal["exact", "near", "shared", "model", "uncached"]
Compute = Callable[[], Awaitable[Json]]

TTL_SECONDS = 7 * 24 * 3600
NEAR_BITS = 24
"""Largest distance of two hashes (of 256 bits) of what counts as the same photo; measured, see docs/performance.md."""
BUCKET_SIZE = 500
"""Photos kept per band value; past it a random one makes room, so a flood of look-alikes stays bounded."""
LOCK_SECONDS = 5.0
POLL_SECONDS = (0.02, 0.05, 0.1, 0.2)

CACHE = Counter("eco2_scan_cache_total", "Where a stage's result came from", ["stage", "source"])

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_REMEMBER = """
for _, key in ipairs(KEYS) do
  if redis.call('SCARD', key) >= tonumber(ARGV[2]) then redis.call('SPOP', key) end
  redis.call('SADD', key, ARGV[1])
  redis.call('EXPIRE', key, ARGV[3])
end
"""


class _Call:
    """A call that is made once, so that a cache that goes away after it does not make us pay again."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._result: Json | None = None

    async def __call__(self) -> Json:
        if self._result is None:
            self._result = await self._compute()
        return self._result


class ResultCache:
    """`redis` answers in bytes (`decode_responses=False`)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)
        self._remember = redis.register_script(_REMEMBER)

    async def get_or_compute(
        self, stage: str, version: str, content: bytes, compute: Compute, *, share: bool = True
    ) -> tuple[Json, Source]:
        """The result for exactly this content; with `share`, computed by one caller at a time among all processes."""
        key = result_key(stage, version, hashlib.sha256(content).hexdigest())
        call = _Call(compute)
        try:
            found, source = await (self._shared(key, call) if share else self._alone(key, call))
        except RedisError as error:
            log.warning("result cache is away: %r", error)
            found, source = await call(), "uncached"
        CACHE.labels(stage, source).inc()
        return found, source

    async def peek(self, stage: str, version: str, digest: str) -> Json | None:
        """The result for this content digest, without computing."""
        try:
            found = await self.redis.get(result_key(stage, version, digest))
        except RedisError as error:
            log.warning("result cache is away: %r", error)
            return None
        return orjson.loads(found) if found else None

    async def near(self, stage: str, version: str, phash: int) -> Json | None:
        """The result of the nearest photo within NEAR_BITS."""
        try:
            keys = [_band_key(version, band) for band in bands(phash)]
            members: set[bytes] = await self.redis.sunion(keys)  # type: ignore[assignment]
            distances = [((phash ^ int.from_bytes(m[:32])).bit_count(), m[32:].decode()) for m in members]
            for distance, digest in sorted(distances):
                if distance > NEAR_BITS:
                    return None
                found = await self.redis.get(result_key(stage, version, digest))
                if found is not None:
                    CACHE.labels(stage, "near").inc()
                    return dict(orjson.loads(found))
        except RedisError as error:
            log.warning("result cache is away: %r", error)
        return None

    async def remember(self, version: str, phash: int, digest: str) -> None:
        """Let photos near this hash find the result of `digest` from now on."""
        keys = [_band_key(version, band) for band in bands(phash)]
        member = phash.to_bytes(BITS // 8) + digest.encode()
        try:
            await self._remember(keys=keys, args=[member, BUCKET_SIZE, TTL_SECONDS])
        except RedisError as error:
            log.warning("result cache is away: %r", error)

    async def _alone(self, key: str, compute: Compute) -> tuple[Json, Source]:
        found = await self.redis.get(key)
        if found is not None:
            return orjson.loads(found), "exact"
        result = await compute()
        await self.redis.set(key, orjson.dumps(result), ex=TTL_SECONDS)
        return result, "model"

    async def _shared(self, key: str, compute: Compute) -> tuple[Json, Source]:
        waits = 0
        while True:
            found = await self.redis.get(key)
            if found is not None:
                return orjson.loads(found), "shared" if waits else "exact"
            async with self._lock(key) as ours:
                if ours:
                    # The other one may have finished between our look and our lock.
                    if waits and (found := await self.redis.get(key)) is not None:
                        return orjson.loads(found), "shared"
                    result = await compute()
                    await self.redis.set(key, orjson.dumps(result), ex=TTL_SECONDS)
                    return result, "model"
            await asyncio.sleep(POLL_SECONDS[min(waits, len(POLL_SECONDS) - 1)])
            waits += 1

    @asynccontextmanager
    async def _lock(self, key: str) -> AsyncIterator[bool]:
        """True for the one caller that may compute; the lock of a dead process is gone after LOCK_SECONDS."""
        name, token = f"{key}:lock", uuid.uuid4().hex
        ours = bool(await self.redis.set(name, token, nx=True, px=int(LOCK_SECONDS * 1000)))
        if not ours:
            yield False
            return
        renewing = asyncio.create_task(self._keep(name, token))
        try:
            yield True
        finally:
            renewing.cancel()
            await self._release(keys=[name], args=[token])

    async def _keep(self, name: str, token: str) -> None:
        while True:
            await asyncio.sleep(LOCK_SECONDS / 3)
            await self._renew(keys=[name], args=[token, int(LOCK_SECONDS * 1000)])


def result_key(stage: str, version: str, digest: str) -> str:
    return f"scan:{stage}:{version}:{digest}"


NEAR_PREFIX = "scan:near:"


def _band_key(version: str, band: tuple[int, int]) -> str:
    return f"{NEAR_PREFIX}{version}:{band[0]}:{band[1]}"


def version_of(band_key: str) -> str:
    """The version in the name of a set of near-duplicates."""
    return band_key.removeprefix(NEAR_PREFIX).rsplit(":", 2)[0]
