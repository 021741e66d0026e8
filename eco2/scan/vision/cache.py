"""Results by image content: a paid result is reused for 7 days.

A vision result is found by the exact bytes, or, for a paid model, by a perceptual hash within NEAR_BITS: a photo
that was cropped by a pixel, scaled or saved again. The version in the key names model, prompt and taxonomy, so a
change of any of them starts afresh. Callers of the same key at the same time share one call, across processes.

While Redis is away every call is made: that costs money, never a job.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.scan import outputs
from eco2.scan.vision import look_index
from eco2.scan.vision.look_index import LookIndex

log = logging.getLogger(__name__)

T = TypeVar("T")
Source = Literal["exact", "near", "shared", "model", "uncached"]
Compute = Callable[[], Awaitable[T]]

TTL_SECONDS = 7 * 24 * 3600
NEAR_BITS = 24
"""Largest distance of two hashes (of 256 bits) that count as the same photo; see docs/benchmarks/performance.md."""
MOST_TRIED = 8
"""Look-alikes whose results are asked for, the nearest first: those of some may be gone."""
LOCK_SECONDS = 5.0
POLL_SECONDS = (0.02, 0.05, 0.1, 0.2)

CACHE = Counter("eco2_scan_cache_total", "Where a stage's result came from", ["stage", "source"])

# Each script is one round trip in place of several: a paid look makes two, an answer two. Who takes the lock of a look
# gets the photos that came since its last one.
_TAKE = """
local found = redis.call('GET', KEYS[1])
if found then return {found, 0, {}} end
local ours = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
if ours == 0 or not KEYS[3] then return {false, ours, {}} end
return {false, ours, redis.call('XRANGE', KEYS[3], ARGV[3], '+', 'COUNT', ARGV[4])}
"""
_KEEP = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
if KEYS[3] then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', ARGV[6], ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


@dataclass(frozen=True)
class LookAlike(Generic[T]):
    """`hash` hashes the photo, `hashed` is its result with this hash."""

    hash: Callable[[], Awaitable[int]]
    hashed: Callable[[T, int], T]


class _Call(Generic[T]):
    """A call that is made once, so that a cache that goes away after it does not make us pay again.

    However it ended, asking again ends the same way."""

    def __init__(self, compute: Compute[T]) -> None:
        self._compute = compute
        self._result: T | None = None
        self._error: BaseException | None = None

    async def __call__(self) -> T:
        if self._error is not None:
            raise self._error
        if self._result is None:
            try:
                self._result = await self._compute()
            except BaseException as error:
                self._error = error
                raise
        return self._result


class ResultCache:
    """`redis` answers in bytes (`decode_responses=False`)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._take = redis.register_script(_TAKE)
        self._keep = redis.register_script(_KEEP)
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)
        self._releases: set[asyncio.Task[None]] = set()
        self._indexes: dict[str, LookIndex] = {}

    async def get_or_compute(
        self,
        kind: type[T],
        stage: str,
        version: str,
        digest: str,
        compute: Compute[T],
        *,
        share: bool = True,
        look_alike: LookAlike[T] | None = None,
    ) -> tuple[T, Source]:
        """The result for the content with this SHA-256; with `share`, computed by one caller at a time anywhere.

        With `look_alike` the result of the nearest photo within NEAR_BITS counts as well, and the result carries the
        photo's own hash.
        """
        key, call = result_key(stage, version, digest), _Call(compute)
        try:
            if share:
                near = self._near(kind, stage, version, digest, look_alike) if look_alike else None
                found, source = await self._shared(kind, key, call, near)
            else:
                found, source = await self._alone(kind, key, call)
        except RedisError as error:
            log.warning("result cache is away: %r", error)
            found, source = await call(), "uncached"
        CACHE.labels(stage, source).inc()
        return found, source

    def _near(self, kind: type[T], stage: str, version: str, digest: str, look_alike: LookAlike[T]) -> "_Near[T]":
        index = self._indexes.setdefault(version, LookIndex())
        return _Near(self.redis, index, kind, stage, version, digest, look_alike)

    async def peek(self, stage: str, version: str, digest: str) -> bool:
        """True when there is a result for this content digest."""
        try:
            return bool(await self.redis.exists(result_key(stage, version, digest)))
        except RedisError as error:
            log.warning("result cache is away: %r", error)
            return False

    async def _alone(self, kind: type[T], key: str, compute: Compute[T]) -> tuple[T, Source]:
        found = await self.redis.get(key)
        if found is not None:
            return outputs.loads(kind, found), "exact"
        result = await compute()
        await self.redis.set(key, outputs.dumps(result), ex=TTL_SECONDS)
        return result, "model"

    async def _shared(self, kind: type[T], key: str, compute: Compute[T], near: "_Near[T] | None") -> tuple[T, Source]:
        token, waits = uuid.uuid4().hex, 0
        while True:
            keys: list[str] = [key, _lock(key)]
            args: list[bytes | str | int] = [token, int(LOCK_SECONDS * 1000)]
            if near:
                keys.append(near.stream)
                args += [near.since, look_index.PAGE]
            found, ours, newer = await self._take(keys=keys, args=args)
            if found is not None:
                return outputs.loads(kind, found), "shared" if waits else "exact"
            if ours:
                return await self._locked(key, token, compute, near, newer)
            await asyncio.sleep(POLL_SECONDS[min(waits, len(POLL_SECONDS) - 1)])
            waits += 1

    async def _locked(
        self, key: str, token: str, compute: Compute[T], near: "_Near[T] | None", newer: Sequence[look_index.Entry]
    ) -> tuple[T, Source]:
        """Find or compute it as the one caller that may, then let the others have it."""
        renewing = asyncio.create_task(self._keep_lock(_lock(key), token))
        try:
            result = await near.find(newer) if near else None
            source: Source = "model" if result is None else "near"
            if result is None:
                result = await compute()
            if near:
                result = near.hashed(result)
        except BaseException:
            self._let_go(_lock(key), token)
            raise
        finally:
            renewing.cancel()
        # What was found near another photo is no measure of nearness itself: likeness would drift from one to the next.
        keys: list[str] = [key, _lock(key)]
        args: list[bytes | str | int] = [outputs.dumps(result), TTL_SECONDS, token]
        if near and source == "model":
            keys.append(near.stream)
            args += [near.photo, look_index.MOST, look_index.FIELD]
        await self._keep(keys=keys, args=args)
        return result, source

    async def _keep_lock(self, name: str, token: str) -> None:
        """The lock of a living process stays; that of a dead one is gone after LOCK_SECONDS."""
        while True:
            await asyncio.sleep(LOCK_SECONDS / 2)
            try:
                await self._renew(keys=[name], args=[token, int(LOCK_SECONDS * 1000)])
            except RedisError as error:
                log.warning("the lock of a call was not renewed: %r", error)

    def _let_go(self, name: str, token: str) -> None:
        """Release the lock without waiting for it: neither time nor error of Redis may come in the way of what happened
        to the call. A release that fails is made up for by the end of the lock."""
        task = asyncio.create_task(self._release_soon(name, token))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release_soon(self, name: str, token: str) -> None:
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await self._release(keys=[name], args=[token])
        except (RedisError, OSError) as error:
            log.warning("the lock of a call was not released: %r", error)


class _Near(Generic[T]):
    """The search for photos that look like this one."""

    def __init__(
        self,
        redis: Redis,
        index: LookIndex,
        kind: type[T],
        stage: str,
        version: str,
        digest: str,
        look_alike: LookAlike[T],
    ) -> None:
        self._redis, self._index, self._kind = redis, index, kind
        self._stage, self._version, self._digest = stage, version, digest
        self._look_alike = look_alike
        self.phash = 0
        self.stream = look_index.stream(version)

    @property
    def since(self) -> bytes:
        """Start of the entries that the index has not."""
        return b"(" + self._index.newest

    @property
    def photo(self) -> bytes:
        """Entry that lets others find this photo."""
        return look_index.packed(self.phash, self._digest)

    async def find(self, newer: Sequence[look_index.Entry]) -> T | None:
        """The result of the nearest photo within NEAR_BITS. `newer`: the next entries for the index."""
        self.phash = await self._look_alike.hash()
        self._index.add(newer)
        while len(newer) == look_index.PAGE:
            newer = await look_index.entries(self._redis, self.stream, self.since)
            self._index.add(newer)
        for digest in self._index.near(self.phash, NEAR_BITS)[:MOST_TRIED]:
            found = await self._redis.get(result_key(self._stage, self._version, digest))
            if found is not None:
                return outputs.loads(self._kind, found)
        return None

    def hashed(self, result: T) -> T:
        return self._look_alike.hashed(result, self.phash)


def result_key(stage: str, version: str, digest: str) -> str:
    return f"scan:{stage}:{version}:{digest}"


def _lock(key: str) -> str:
    return f"{key}:lock"
