"""From the shard streams to the log and the live channel of each job.

An entry is acknowledged and deleted in the same atomic step that writes and publishes it, so a router that dies loses
nothing and repeats nothing; several routers may forward events of one job in any order, because the log sorts by `seq`.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError, ResponseError

from eco2.contracts.events import ENDED_TTL_SECONDS, JOB_TTL_SECONDS, Stage, channel, log_key, shard_keys
from eco2.core.shared_redis import connect_shared
from eco2.event_router.settings import Settings
from eco2.messaging.events import EventBus, trace_event

GROUP = "event-router"
BLOCK_SECONDS = 1.0
"""One wait for new entries; a stop is noticed after at most this time."""
BACKOFF_SECONDS = (0.1, 2.0)
STUCK_SECONDS = 15.0
"""Without a finished round for so long the router is not ready."""
NEARLY_FULL = 0.75
WARN_SECONDS = 60.0

FORWARDED = Counter("eco2_router_events_forwarded", "Events written to their log and published")
BATCHES = Counter("eco2_router_batches", "Atomic steps that forwarded events")
RECLAIMED = Counter("eco2_router_reclaimed", "Entries taken over from a router that held them too long")
POISON = Counter("eco2_router_poison", "Entries that are no event; acknowledged and dropped")
LAG = Gauge("eco2_router_lag", "Entries of the shard not yet forwarded", ["shard"])

MEMORY = Gauge("eco2_router_memory_share", "Share of its memory limit that the streams Redis uses; 0 without a limit")

log = logging.getLogger(__name__)

# For each job of the batch: its frames go to the log one by one and to the live channel as one message. The stay of a
# log is only made shorter, by the terminal event, whatever the order of arrival.
_FORWARD = """
local jobs, at = tonumber(ARGV[1]), 2
for i = 1, jobs do
  local log, channel = KEYS[2 * i - 1], KEYS[2 * i]
  local ttl, ended, count, frames, live = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), {}, {}
  for j = 1, count do
    frames[2 * j - 1], frames[2 * j] = ARGV[at + 1 + 2 * j], ARGV[at + 2 + 2 * j]
    live[j] = frames[2 * j]
  end
  redis.call('ZADD', log, unpack(frames))
  if ended == '1' then redis.call('EXPIRE', log, ttl) else redis.call('EXPIRE', log, ttl, 'NX') end
  redis.call('PUBLISH', channel, table.concat(live, '\\n'))
  at = at + 3 + 2 * count
end
while at <= #ARGV do
  local shard, group, last = ARGV[at], ARGV[at + 1], at + 2 + tonumber(ARGV[at + 2])
  redis.call('XACK', shard, group, unpack(ARGV, at + 3, last))
  redis.call('XDEL', shard, unpack(ARGV, at + 3, last))
  at = last + 1
end
"""

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Entry:
    """One stream entry; `fields` is None when the stream was trimmed past it."""

    shard: str
    stream_id: str
    fields: dict[str, str] | None


@dataclass(frozen=True)
class Event:
    job_id: str
    seq: int
    frame: str
    terminal: bool
    parsed: Mapping[str, Any]


def parse(entry: Entry) -> Event:
    """ValueError when the entry is not an event of the contract."""
    if not entry.fields:
        raise ValueError("trimmed before it was forwarded")
    try:
        job_id, text = entry.fields["job_id"], entry.fields["frame"]
        frame = orjson.loads(text)
        seq, named = frame["seq"], (frame["job_id"], frame["stage"], frame["status"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks {error}") from None
    if not _JOB_ID.fullmatch(job_id) or frame["job_id"] != job_id:
        raise ValueError("names no job, or two")
    if type(seq) is not int or seq < 1 or not all(isinstance(name, str) for name in named):
        raise ValueError("has a field of the wrong type")
    if "\n" in text:  # a frame is one line of the live message
        text = orjson.dumps(frame).decode()
    stamped = f'{text.rstrip()[:-1]},"stream_id":"{entry.stream_id}"}}'
    return Event(job_id, seq, stamped, frame["stage"] == Stage.DONE, frame)


def _events(entries: list[Entry]) -> Iterator[Event]:
    for entry in entries:
        try:
            yield parse(entry)
        except ValueError as error:
            log.error("entry %s of %s is dropped: it %s", entry.stream_id, entry.shard, error)


class Router:
    """`run` and `watch` are the two loops of a router; `stop` ends both after the batch in hand."""

    def __init__(self, settings: Settings) -> None:
        # No retries: after an answer that got lost, what it delivered is read again as pending. Bytes that are no UTF-8
        # have to arrive here to be told apart as poison.
        self.redis = connect_shared(settings.redis_streams_url, retries=0, encoding_errors="replace")
        self._reader = connect_shared(settings.redis_streams_url, retries=0, encoding_errors="replace")
        self.settings = settings
        self.stopping = asyncio.Event()
        self.last_round = 0.0
        self._bus = EventBus(self.redis)
        self._warned = -WARN_SECONDS
        self._forward = self.redis.register_script(_FORWARD)

    def stop(self) -> None:
        self.stopping.set()

    async def aclose(self) -> None:
        await self._reader.aclose()
        await self.redis.aclose()

    async def check(self) -> None:
        """Raises when the router does not make rounds."""
        age = time.monotonic() - self.last_round
        if age > STUCK_SECONDS:
            raise RuntimeError(f"no round finished for {age:.0f} s")

    async def run(self) -> None:
        """Forward entries: first those that this consumer had read and not acknowledged, then new ones."""
        await self._supervise(self._forward_all)

    async def watch(self) -> None:
        """Take over what other routers left, and measure the lag."""
        await self._supervise(self._watch)

    async def _supervise(self, loop: Callable[[], Awaitable[None]]) -> None:
        delay = BACKOFF_SECONDS[0]
        while not self.stopping.is_set():
            started = self.last_round
            try:
                await self._ensure_groups()
                await loop()
            except RedisError as error:
                if self.last_round > started:
                    delay = BACKOFF_SECONDS[0]
                log.warning("redis: %s; again in %.1f s", error, delay)
                await self._pause(delay)
                delay = min(delay * 2, BACKOFF_SECONDS[1])

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return

    async def _ensure_groups(self) -> None:
        for shard in shard_keys():
            try:
                await self.redis.xgroup_create(shard, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def _forward_all(self) -> None:
        while own := await self._read("0"):
            await self.forward(own)
        while not self.stopping.is_set():
            await self.forward(await self._read(">"))
            self.last_round = time.monotonic()

    async def _read(self, position: str) -> list[Entry]:
        answer = await self._reader.xreadgroup(
            GROUP,
            self.settings.consumer,
            dict.fromkeys(shard_keys(), position),
            count=self.settings.router_batch,
            block=int(BLOCK_SECONDS * 1000),
        )
        shards = cast(list[tuple[str, list[tuple[str, dict[str, str] | None]]]], answer)
        return [Entry(shard, stream_id, fields) for shard, rows in shards for stream_id, fields in rows]

    async def forward(self, entries: list[Entry]) -> None:
        """Write, publish and acknowledge in one atomic step. Repeating it for the same entries changes nothing."""
        if not entries:
            return
        by_job: dict[str, list[Event]] = {}
        for event in _events(entries):
            by_job.setdefault(event.job_id, []).append(event)
        keys = [key for job_id in by_job for key in (log_key(job_id), channel(job_id))]
        args: list[str | bytes | int] = [len(by_job)]
        for events in by_job.values():
            ended = any(event.terminal for event in events)
            args += [ENDED_TTL_SECONDS if ended else JOB_TTL_SECONDS, int(ended), len(events)]
            args += [arg for event in events for arg in (event.seq, event.frame)]
        by_shard: dict[str, list[str]] = {}
        for entry in entries:
            by_shard.setdefault(entry.shard, []).append(entry.stream_id)
        for shard, ids in by_shard.items():
            args += [shard, GROUP, len(ids), *ids]
        await self._forward(keys=keys, args=args)
        for event in (event for events in by_job.values() for event in events):
            trace_event("forward event", event.parsed)
        forwarded = sum(map(len, by_job.values()))
        BATCHES.inc()
        FORWARDED.inc(forwarded)
        POISON.inc(len(entries) - forwarded)

    async def _watch(self) -> None:
        while not self.stopping.is_set():
            await self._measure_memory()
            for shard in shard_keys():
                await self._reclaim(shard)
                await self._measure(shard)
            await self._pause(self.settings.router_reclaim_every.total_seconds())

    async def _measure_memory(self) -> None:
        """Warn before the server refuses events: it never evicts, and new scans are refused at nine tenths."""
        fullness = await self._bus.fullness()
        MEMORY.set(fullness)
        now = time.monotonic()
        if fullness >= NEARLY_FULL and now - self._warned >= WARN_SECONDS:
            self._warned = now
            log.warning("the streams Redis uses %.0f %% of its memory limit", 100 * fullness)

    async def _reclaim(self, shard: str) -> None:
        idle = int(self.settings.router_reclaim_idle.total_seconds() * 1000)
        position, batch = "0-0", self.settings.router_batch
        while True:
            position, rows, *_ = await self.redis.xautoclaim(
                shard, GROUP, self.settings.consumer, idle, position, count=batch
            )
            await self.forward([Entry(shard, stream_id, fields) for stream_id, fields in rows])
            RECLAIMED.inc(len(rows))
            if position == "0-0":
                return

    async def _measure(self, shard: str) -> None:
        # Forwarded entries are deleted, so what is in the stream is what waits, also after it was trimmed.
        LAG.labels(shard).set(await self.redis.xlen(shard))
