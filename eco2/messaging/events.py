"""The event bus seen from outside the router: producers emit, readers ask for the owner, the newest event and the log.

A frame is one JSON object: `job_id` str, `stage`, `status`, `seq` int, `ts` str (epoch seconds), `progress` int,
`result` (object on the event that carries one, else ""), `message` and `part` str (only where given), `traceparent` (""
outside of a trace); the router adds `stream_id`, and the gateway `trace_id` and `span_id`, which `traceparent` has.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis

from eco2.contracts.events import (
    ENDED_TTL_SECONDS,
    FIRST_TOKEN,
    JOB_TTL_SECONDS,
    STAGES,
    TEXT_BYTES,
    TOKEN,
    Draft,
    Service,
    Stage,
    channel,
    job_key,
    log_key,
    shard_key,
    text_key,
)
from eco2.core import telemetry

LOOK_SECONDS = 2.0
STREAM_LENGTH = 100_000
"""Entries that may wait per shard for a router that is away: a few hundred MB at most. Forwarded ones are deleted."""

# One step for "was this emitted, is the job over, which number comes next, append": two producers of the same event,
# or one that repeats it after a crash, leave one entry, and numbers have no gap. The frame, a JSON object, gets
# its `seq` in front.
_EMIT = """
local job, stream = KEYS[1], KEYS[2]
if ARGV[5] ~= '' then redis.call('HSETNX', job, 'owner', ARGV[5]) end
local fields = {'seq', 'terminal'}
for i = 6, #ARGV, 3 do fields[#fields + 1] = ARGV[i] end
local known = redis.call('HMGET', job, unpack(fields))
local seq, terminal = tonumber(known[1] or 0), tonumber(known[2] or 0)
local seqs, given, changes = {}, {}, {}
for i = 6, #ARGV, 3 do
  local key, ends, frame = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local own = tonumber(given[key] or known[#seqs + 3] or 0)
  if own == 0 and terminal == 0 then
    seq = seq + 1
    own, given[key] = seq, seq
    changes[#changes + 1], changes[#changes + 2] = key, seq
    if ends == '1' then terminal = seq end
    frame = '{"seq":' .. seq .. ',' .. string.sub(frame, 2)
    redis.call('XADD', stream, 'MAXLEN', '~', ARGV[3], '*', 'job_id', ARGV[1], 'seq', seq, 'frame', frame)
  end
  seqs[#seqs + 1] = own
end
if #changes > 0 then redis.call('HSET', job, 'seq', seq, unpack(changes)) end
if terminal > 0 and not known[2] then
  redis.call('HSET', job, 'terminal', terminal)
  redis.call('UNLINK', KEYS[3])
end
redis.call('EXPIRE', job, terminal > 0 and ARGV[4] or ARGV[2])
return seqs
"""

# The end of a job whose events are gone: what reads or writes its events from now on finds it over.
_END = """
redis.call('HSETNX', KEYS[1], 'owner', ARGV[1])
local terminal = redis.call('HGET', KEYS[1], 'terminal')
if not terminal then
  terminal = ARGV[2]
  redis.call('HSET', KEYS[1], 'seq', terminal, 'terminal', terminal)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return tonumber(terminal)
"""

# A part of the text: appended to the text so far, and published to followers. The first part of a newer round
# drops the text of the one before. A repeated part, one of an older round, and one after the end change nothing. Nor
# does one after a part that did not fit: a shorter one could, and the text would have a hole.
_SAY = f"""
local job, text = KEYS[1], KEYS[2]
local round, part, most, content = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local known = redis.call('HMGET', job, 'round', 'part', 'said', 'seq', 'terminal', 'full')
local current, last, said = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or {FIRST_TOKEN - 1})
if known[5] or round < current or (round == current and part <= last) then return 0 end
if round == tonumber(known[6] or 0) then return 0 end
if round > current then redis.call('UNLINK', text) end
if redis.call('STRLEN', text) + #content > most then
  redis.call('HSET', job, 'round', round, 'part', part, 'full', round)
  redis.call('EXPIRE', job, ARGV[5])
  return 0
end
said = said + 1
redis.call('HSET', job, 'round', round, 'part', part, 'said', said)
redis.call('APPEND', text, content)
redis.call('EXPIRE', text, ARGV[5])
redis.call('EXPIRE', job, ARGV[5])
local numbers = '{{"seq":' .. said .. ',"round":' .. round .. ',"after":' .. (known[4] or 0) .. ','
redis.call('PUBLISH', ARGV[6], numbers .. string.sub(ARGV[7], 2))
return said
"""

_TEXT = "local at = redis.call('HMGET', KEYS[1], 'round', 'said') return {at[1], at[2], redis.call('GET', KEYS[2])}"

_GIVE = "if redis.call('HEXISTS', KEYS[1], 'owner') == 1 then redis.call('HSET', KEYS[1], 'owner', ARGV[1]) end"
_STANDING = "return {redis.call('HGET', KEYS[1], 'owner'), redis.call('ZREVRANGE', KEYS[2], 0, 0)[1] or false}"


@dataclass(frozen=True)
class Head:
    """Position of a job on the producer's side: newest `seq` (0: none yet), `terminal` seq (0: not over)."""

    owner: str
    seq: int
    terminal: int


@dataclass(frozen=True)
class Text:
    """Text of a job as far as it is written. `seq` is that of its last part; a newer `round` began anew."""

    round: int
    seq: int
    content: str


class EventBus:
    """`service`: that of a producer, whose events are held to the stages of its service."""

    def __init__(self, redis: Redis, service: Service | None = None) -> None:
        self.redis = redis
        self._stages = STAGES[service] if service else frozenset(Stage)
        self._say = redis.register_script(_SAY)
        self._text = redis.register_script(_TEXT)
        self._emit = redis.register_script(_EMIT)
        self._give = redis.register_script(_GIVE)
        self._standing = redis.register_script(_STANDING)
        self._end = redis.register_script(_END)

    async def open(self, job_id: str, owner: str) -> None:
        """Say whose job this is, before its events can be asked for. The first owner stays."""
        pipeline = self.redis.pipeline()
        pipeline.hsetnx(job_key(job_id), "owner", owner)
        pipeline.expire(job_key(job_id), JOB_TTL_SECONDS)
        await pipeline.execute()

    async def give(self, job_id: str, owner: str) -> None:
        """Let another user read the events of a job, past and future ones."""
        await self._give(keys=[job_key(job_id)], args=[owner])

    async def emit(self, job_id: str, *drafts: Draft, owner: str = "") -> list[int]:
        """Append the events in this order; the `seq` of each, 0 for one that comes after the terminal event.

        An event whose key the job already has is not written again: its `seq` is that of the first time. The first
        events of a job name its `owner`, as `open` does.
        """
        if not drafts:
            return []
        args: list[str | bytes | int] = [job_id, JOB_TTL_SECONDS, STREAM_LENGTH, ENDED_TTL_SECONDS, owner]
        for draft in drafts:
            if draft.stage not in self._stages:
                raise ValueError(f"{draft.stage} is no stage of this service")
            args += [draft.key, int(draft.terminal), orjson.dumps(frame_of(job_id, draft))]
        seqs: list[int] = await self._emit(keys=[job_key(job_id), shard_key(job_id), text_key(job_id)], args=args)
        return seqs

    async def say(self, job_id: str, round_: int, part: int, content: str, node: str) -> int:
        """Send the next part of a text to followers; its `seq`, 0 where nothing was sent.

        Parts count from 1 in each round. A round is an attempt to write the text: the first part of a newer one drops
        what was said, and from then on nothing of an older one is sent. So a worker that takes over from one that may
        still be alive says what it says once. Past TEXT_BYTES nothing is sent; the terminal event has the whole.
        """
        frame = {"job_id": job_id, "stage": TOKEN, "node": node, "content": content, "ts": f"{time.time():.3f}"}
        args: list[str | bytes | int] = [round_, part, TEXT_BYTES, content, JOB_TTL_SECONDS, channel(job_id)]
        args.append(orjson.dumps(frame))
        return int(await self._say(keys=[job_key(job_id), text_key(job_id)], args=args))

    async def text(self, job_id: str) -> Text | None:
        """None where no text is being written: before its first part and after the terminal event."""
        round_, seq, content = await self._text(keys=[job_key(job_id), text_key(job_id)])
        return None if content is None else Text(int(round_), int(seq), content)

    async def fullness(self) -> float:
        """Share of its memory limit that the server uses; 0.0 where it has none."""
        memory = await self.redis.info("memory")
        limit = int(memory["maxmemory"])
        return int(memory["used_memory"]) / limit if limit else 0.0

    async def end(self, job_id: str, owner: str, seq: int) -> int:
        """Note that the job is over, with `seq` as its terminal event unless it has one; the terminal `seq`."""
        return int(await self._end(keys=[job_key(job_id)], args=[owner, seq, ENDED_TTL_SECONDS]))

    async def state(self, job_id: str) -> dict[str, object] | None:
        """The newest frame that the router has forwarded."""
        newest = cast(list[str], await self.redis.zrevrange(log_key(job_id), 0, 0))
        return orjson.loads(newest[0]) if newest else None

    async def wait_ended(self, job_id: str) -> None:
        """Return when the router has forwarded the terminal event. A live message that is lost costs LOOK_SECONDS."""
        async with self.redis.pubsub() as live:
            await live.subscribe(channel(job_id))
            while True:
                await live.get_message(timeout=LOOK_SECONDS)  # the first one says that it is subscribed
                frame = await self.state(job_id)
                if frame is not None and frame["stage"] == Stage.DONE:
                    return

    async def standing(self, job_id: str) -> tuple[str | None, dict[str, object] | None]:
        """(owner, newest forwarded frame) in one round trip, for a poll."""
        owner, frame = await self._standing(keys=[job_key(job_id), log_key(job_id)])
        return owner, orjson.loads(frame) if frame else None

    async def owner(self, job_id: str) -> str | None:
        head = await self.head(job_id)
        return head.owner if head else None

    async def head(self, job_id: str) -> Head | None:
        """None for a job that was never opened or is long over."""
        owner, seq, terminal = await self.redis.hmget(job_key(job_id), "owner", "seq", "terminal")
        return Head(str(owner), int(seq or 0), int(terminal or 0)) if owner else None

    async def forget(self, job_id: str) -> None:
        """Remove all that readers and producers know about a job that is over."""
        await self.redis.delete(job_key(job_id), log_key(job_id), text_key(job_id))

    async def log(self, job_id: str, after: int, limit: int) -> list[str]:
        """Frames with a `seq` above `after`, in order; one that another router still holds may be missing between."""
        frames = await self.redis.zrangebyscore(log_key(job_id), after + 1, "+inf", start=0, num=limit)
        return cast(list[str], frames)


def frame_of(job_id: str, draft: Draft) -> dict[str, object]:
    """The frame of an event, without its `seq`."""
    frame: dict[str, object] = {
        "job_id": job_id,
        "stage": draft.stage,
        "status": draft.status,
        "ts": f"{time.time():.3f}",
        "progress": draft.progress,
        "result": "" if draft.result is None else draft.result,
        "traceparent": _traceparent(),
    }
    if draft.message is not None:
        frame["message"] = draft.message
    if draft.part is not None:
        frame["part"] = draft.part
    return frame


def _traceparent() -> str:
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"


def trace_ids(traceparent: str) -> tuple[str, str]:
    """(trace id, span id) of a `traceparent`; two empty strings outside of a trace."""
    return traceparent[3:35], traceparent[36:52]


def trace_event(name: str, frame: Mapping[str, Any]) -> None:
    """Add a span from the emission of the event until now to its trace, where that is collected."""
    if not telemetry.exporting():
        return
    try:
        emitted = float(frame.get("ts", ""))
    except (TypeError, ValueError):
        return  # not from a producer of ours
    attributes = {"eco2.stage": str(frame["stage"]), "eco2.status": str(frame["status"]), "eco2.seq": frame["seq"]}
    telemetry.record(name, str(frame.get("traceparent", "")), emitted, SpanKind.CONSUMER, attributes)
