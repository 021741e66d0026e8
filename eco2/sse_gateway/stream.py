"""One client's stream: every event of its job once and in order, from where it left off to the terminal one."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from prometheus_client import Counter
from redis.exceptions import RedisError

from eco2.core.errors import Unavailable
from eco2.core.ops import Send
from eco2.messaging.events import EventBus
from eco2.sse_gateway.hub import Frame, Hub, Listener
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.settings import Settings

CHUNK = 64
"""Frames read from the log in one go: bounds what a slow client holds in memory."""
GAP_SECONDS = (0.05, 1.0)
"""First and longest pause before the log is asked again for an event that is missing between others."""

SENT = Counter("eco2_sse_frames_sent", "Event frames sent to clients")
REPLAYED = Counter("eco2_sse_frames_replayed", "Of these, frames that came from the log")
ENDED = Counter("eco2_sse_ended_by_service", "Streams whose end came from the job's service, its events being lost")
HEALED = Counter("eco2_sse_gaps_healed", "Times that the log had events whose live copy did not arrive in order")


@dataclass(frozen=True, slots=True)
class Job:
    service: str
    id: str


class Stream:
    """`last` is the seq of the newest event that the client has."""

    __slots__ = (
        "asked_at",
        "behind",
        "bus",
        "followed",
        "gap_pause",
        "hub",
        "job",
        "last",
        "listener",
        "sent_at",
        "settings",
        "states",
    )

    def __init__(
        self, bus: EventBus, hub: Hub, states: JobStates, settings: Settings, job: Job, last: int, listener: Listener
    ) -> None:
        self.bus, self.hub, self.states, self.settings = bus, hub, states, settings
        self.job, self.last, self.listener = job, last, listener
        self.behind = self.followed = False
        self.gap_pause = 0.0
        self.sent_at = self.asked_at = asyncio.get_running_loop().time()

    async def run(self, send: Send) -> bool:
        """Send until the terminal event was sent (True) or the client has left (False)."""
        while not self.listener.gone:
            frames = self.listener.take(self.last) or await self._from_log() or await self._from_service()
            if frames:
                await self._send(send, b"".join(frame.data for frame in frames))
                self.last, self.gap_pause = frames[-1].seq, 0.0
                SENT.inc(len(frames))
                if frames[-1].terminal:
                    return True
            if len(frames) < CHUNK:
                await self.listener.wait(await self._keepalive(send))
        return False

    async def _send(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        self.sent_at = asyncio.get_running_loop().time()

    async def _from_service(self) -> list[Frame]:
        """The terminal event of a job that is over without one in the log, after a silence of `sse_check`."""
        now = asyncio.get_running_loop().time()
        if now - max(self.asked_at, self.sent_at) < self.settings.sse_check.total_seconds():
            return []
        self.asked_at = now
        try:
            state = await self.states.get(self.job.service, self.job.id)
        except Unavailable:
            return []
        if state is None or not state.terminal_event:
            return []
        seq = self.last + 1
        with contextlib.suppress(RedisError):
            seq = max(seq, await self.bus.end(self.job.id, state.user_id, seq))
        ENDED.inc()
        return [Frame(orjson.dumps({**orjson.loads(state.terminal_event), "seq": seq, "stream_id": ""}).decode())]

    async def _keepalive(self, send: Send) -> float:
        """Break a long silence; seconds until the next look at the log or the next keepalive."""
        silence = asyncio.get_running_loop().time() - self.sent_at
        keepalive = self.settings.sse_keepalive.total_seconds()
        if silence >= keepalive:
            await self._send(send, keepalive_frame())
            silence = 0.0
        return min(self._pause(), keepalive - silence)

    def _pause(self) -> float:
        """Seconds until the log is to be read even if nobody wakes us: soon while we know that something is there."""
        if not self.behind and not self.listener.frames:
            return self.settings.sse_check.total_seconds()
        self.gap_pause = min(max(self.gap_pause * 2, GAP_SECONDS[0]), GAP_SECONDS[1])
        return self.gap_pause

    async def _from_log(self) -> list[Frame]:
        """The next frames in the log without a gap. None while Redis is away: the client sees keepalives meanwhile."""
        self.behind = False
        if not self.hub.connected:
            return []
        try:
            texts = await self.bus.log(self.job.id, self.last, CHUNK)
        except RedisError:
            self.behind = True
            return []
        frames = _without_gap((Frame(text) for text in texts), self.last)
        self.behind = len(frames) < len(texts)
        REPLAYED.inc(len(frames))
        HEALED.inc(1 if frames and self.followed else 0)
        self.followed = True
        return frames


def _without_gap(frames: Iterable[Frame], last: int) -> list[Frame]:
    ready: list[Frame] = []
    for frame in frames:
        if frame.seq != last + 1:
            break
        ready.append(frame)
        last = frame.seq
    return ready


def keepalive_frame() -> bytes:
    return b"event: keepalive\ndata: " + orjson.dumps({"timestamp": datetime.now(UTC)}) + b"\n\n"


def ended_frame() -> bytes:
    body = {"type": "error", "error": "session_ended", "message": "Your session was ended; sign in again."}
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"


def timeout_frame(seconds: float) -> bytes:
    body = {"type": "error", "error": "timeout", "message": f"The stream was open for {seconds:g} s; connect again."}
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
