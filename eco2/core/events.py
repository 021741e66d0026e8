"""The event bus seen from outside the router: producers emit, readers ask for the owner, the newest event and the log.

A frame is one JSON object: `job_id` str, `stage`, `status`, `seq` int, `ts` str (epoch seconds), `progress` int,
`result` (object on the event that carries one, else ""), `message` str (only where given), `trace_id`, `span_id`,
`traceparent` ("" outside of a trace); the router adds `stream_id`.
"""

import time
from dataclasses import dataclass
from typing import cast

import orjson
from opentelemetry import trace
from redis.asyncio import Redis

from eco2.contracts.events import JOB_TTL_SECONDS, Draft, job_key, log_key, shard_key, state_key

STREAM_LENGTH = 100_000
"""Entries kept per shard: hours of a lagging router, a few hundred MB at most."""

# One step for "was this emitted, is the job over, which number comes next, append": two producers of the same event,
# or one that repeats it after a crash, leave one entry, and numbers have no gap. The frame comes in two halves
# around its `seq`.
_EMIT = """
local job, stream = KEYS[1], KEYS[2]
local seqs = {}
if ARGV[4] ~= '' then redis.call('HSETNX', job, 'owner', ARGV[4]) end
for i = 5, #ARGV, 4 do
  local key, terminal, head, tail = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local seq = tonumber(redis.call('HGET', job, key) or 0)
  if seq == 0 and redis.call('HEXISTS', job, 'terminal') == 0 then
    seq = redis.call('HINCRBY', job, 'seq', 1)
    redis.call('HSET', job, key, seq)
    if terminal == '1' then redis.call('HSET', job, 'terminal', seq) end
    redis.call('XADD', stream, 'MAXLEN', '~', ARGV[3], '*', 'job_id', ARGV[1], 'seq', seq, 'frame', head .. seq .. tail)
  end
  seqs[#seqs + 1] = seq
end
redis.call('EXPIRE', job, ARGV[2])
return seqs
"""

_STANDING = "return {redis.call('HGET', KEYS[1], 'owner'), redis.call('GET', KEYS[2])}"


@dataclass(frozen=True)
class Head:
    """Where a job stands on the producer's side: newest `seq` (0: none yet), `terminal` seq (0: not over)."""

    owner: str
    seq: int
    terminal: int


class EventBus:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._emit = redis.register_script(_EMIT)
        self._standing = redis.register_script(_STANDING)

    async def open(self, job_id: str, owner: str) -> None:
        """Say whose job this is, before anybody may ask for its events. The first owner stays."""
        pipeline = self.redis.pipeline()
        pipeline.hsetnx(job_key(job_id), "owner", owner)
        pipeline.expire(job_key(job_id), JOB_TTL_SECONDS)
        await pipeline.execute()

    async def emit(self, job_id: str, *drafts: Draft, owner: str = "") -> list[int]:
        """Append the events in this order; the `seq` of each, 0 for one that comes after the terminal event.

        An event whose key the job already has is not written again: its `seq` is that of the first time. The first
        events of a job name its `owner`, as `open` does.
        """
        if not drafts:
            return []
        args: list[str | bytes | int] = [job_id, JOB_TTL_SECONDS, STREAM_LENGTH, owner]
        for draft in drafts:
            args += [draft.key, int(draft.terminal), *_frame_halves(job_id, draft)]
        seqs: list[int] = await self._emit(keys=[job_key(job_id), shard_key(job_id)], args=args)
        return seqs

    async def state(self, job_id: str) -> dict[str, object] | None:
        """The newest frame that the router has forwarded."""
        frame = await self.redis.get(state_key(job_id))
        return orjson.loads(frame) if frame else None

    async def standing(self, job_id: str) -> tuple[str | None, dict[str, object] | None]:
        """(owner, newest forwarded frame) in one round trip: what a poll needs."""
        owner, frame = await self._standing(keys=[job_key(job_id), state_key(job_id)])
        return owner, orjson.loads(frame) if frame else None

    async def owner(self, job_id: str) -> str | None:
        head = await self.head(job_id)
        return head.owner if head else None

    async def head(self, job_id: str) -> Head | None:
        """None for a job that was never opened or is long over."""
        owner, seq, terminal = await self.redis.hmget(job_key(job_id), "owner", "seq", "terminal")
        return Head(str(owner), int(seq or 0), int(terminal or 0)) if owner else None

    async def log(self, job_id: str, after: int, limit: int) -> list[str]:
        """Frames with a `seq` above `after`, in order; one that another router still holds may be missing between."""
        frames = await self.redis.zrangebyscore(log_key(job_id), after + 1, "+inf", start=0, num=limit)
        return cast(list[str], frames)


def _frame_halves(job_id: str, draft: Draft) -> tuple[bytes, bytes]:
    """The frame up to where its `seq` goes, and from there on."""
    head = orjson.dumps({"job_id": job_id, "stage": draft.stage, "status": draft.status})
    tail: dict[str, object] = {
        "ts": f"{time.time():.3f}",
        "progress": draft.progress,
        "result": "" if draft.result is None else draft.result,
    }
    if draft.message is not None:
        tail["message"] = draft.message
    return head[:-1] + b',"seq":', b"," + orjson.dumps(tail | _trace_fields())[1:]


def _trace_fields() -> dict[str, str]:
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return {"trace_id": "", "span_id": "", "traceparent": ""}
    trace_id, span_id = f"{span.trace_id:032x}", f"{span.span_id:016x}"
    return {
        "trace_id": trace_id,
        "span_id": span_id,
        "traceparent": f"00-{trace_id}-{span_id}-{int(span.trace_flags):02x}",
    }
