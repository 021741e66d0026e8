"""One client's stream: every event of its job once and in order, from its last one to the terminal one."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from prometheus_client import Counter
from redis.exceptions import RedisError

from eco2.contracts.events import Service
from eco2.core.errors import Unavailable
from eco2.core.ops import Send
from eco2.messaging.events import EventBus, trace_event
from eco2.sse_gateway.hub import Frame, Hub, Listener
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.settings import Settings
from eco2.sse_gateway.text import Told

CHUNK = 64
"""Frames read from the log at once, which bounds the memory of a slow client."""
WRITING = frozenset({Service.CHAT})
"""Services whose jobs write a text."""
GAP_SECONDS = (0.05, 1.0)
"""First and longest pause before the log is asked again for an event that is missing between others."""

SENT = Counter("eco2_sse_frames_sent", "Event frames sent to clients")
REPLAYED = Counter("eco2_sse_frames_replayed", "Of these, frames that came from the log")
ENDED = Counter("eco2_sse_ended_by_service", "Streams whose end came from the job's service, its events being lost")
SPOKEN = Counter("eco2_sse_tokens_sent", "Parts of texts sent to clients")
RECOVERED = Counter("eco2_sse_texts_recovered", "Times that a client was sent a text so far in place of its parts")
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
        "told",
    )

    def __init__(
        self, bus: EventBus, hub: Hub, states: JobStates, settings: Settings, job: Job, last: int, listener: Listener
    ) -> None:
        self.bus, self.hub, self.states, self.settings = bus, hub, states, settings
        self.job, self.last, self.listener = job, last, listener
        self.behind = self.followed = False
        self.told = Told() if job.service in WRITING else None
        self.gap_pause = 0.0
        self.sent_at = self.asked_at = asyncio.get_running_loop().time()

    async def run(self, send: Send) -> bool:
        """Send until the terminal event was sent (True) or the client has left (False)."""
        if text := await self._text_so_far():
            await self._send(send, text)
        while not self.listener.gone:
            frames, parts = self.listener.take(self.last), self._parts(self.last)
            if not frames and not (parts and self.followed):
                frames = await self._from_log() or await self._from_service()
            over = bool(frames) and frames[-1].terminal
            body = b"".join((*parts, *self._with_parts(frames)))
            if self.told and not over and self._text_wanted(silent=not body):
                body += await self._text_so_far()
            if body:
                await self._send(send, body)
            if over:
                return True
            if len(frames) < CHUNK:
                await self.listener.wait(await self._keepalive(send))
        return False

    def _text_wanted(self, silent: bool) -> bool:
        """True when parts are missing, or when nothing came and the live copy of the last one may have been lost."""
        parts = self.listener.parts
        return (silent and not parts) or (self.told is not None and self.told.behind(parts, self.last))

    def _with_parts(self, frames: list[Frame]) -> Iterator[bytes]:
        """The frames, each with the parts of the text before it; then the parts after the last."""
        for frame in frames:
            yield from self._parts(frame.seq - 1)
            yield frame.data
            if frame.traced:
                trace_event("deliver event", frame.traced)
            self.last, self.gap_pause = frame.seq, 0.0
        if frames and not frames[-1].terminal:
            yield from self._parts(self.last)
        SENT.inc(len(frames))

    def _parts(self, last: int) -> list[bytes]:
        """Parts of the text that go to a client whose newest event is `last`."""
        if self.told is None or not self.listener.parts:
            return []
        parts = [part.data for part in self.told.take(self.listener.parts, last)]
        SPOKEN.inc(len(parts))
        return parts

    async def _text_so_far(self) -> bytes:
        """The frame with the text so far; empty if the client has it."""
        if self.told is None or not self.hub.connected:
            return b""
        try:
            frame = self.told.recover(self.job.id, await self.bus.text(self.job.id))
        except RedisError:
            return b""
        RECOVERED.inc(1 if frame else 0)
        return frame

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
        """Seconds until the log is read without a wake-up: few while it is known to have more."""
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
