"""The HTTP side of the gateway, as a plain ASGI app: a stream costs a few kilobytes, not a framework's stack."""

import asyncio
import re
from collections import Counter
from urllib.parse import parse_qs

from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.events import Service
from eco2.contracts.identity import SESSION_HEADER, USER_ID_HEADER
from eco2.core import proof
from eco2.core.errors import AppError, BadRequest, NotFound, Unauthorized, Unavailable
from eco2.core.ops import Receive, Scope, Send, send_json
from eco2.messaging.events import EventBus, Head
from eco2.sse_gateway.hub import Hub, Listener
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.revocations import Revocations
from eco2.sse_gateway.settings import Settings
from eco2.sse_gateway.stream import Job, Stream, ended_frame, timeout_frame

JOB_ID_LENGTH = (10, 100)
LAST_WORDS_SECONDS = 1.0
"""Time for which a client that does not read may hold up the end of its stream."""
STREAMS_SECONDS = 5
"""When to try again to open a stream after too many were open."""

OPEN = Gauge("eco2_sse_open_streams", "Streams open now")

_EVENTS_PATH = re.compile(r"/api/v1/([^/]+)/([^/]+)/events")
_LEGACY_PATH = "/api/v1/stream"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class InvalidJobId(BadRequest):
    """A job id has at least 10 characters."""

    code = "INVALID_JOB_ID"


class UnsupportedService(BadRequest):
    """Only scan and chat have event streams."""

    code = "UNSUPPORTED_SERVICE"


class JobNotFound(NotFound):
    """There is no such job, or it is not yours."""

    code = "JOB_NOT_FOUND"


class TooManyStreams(AppError):
    """You have too many event streams open; close one, or wait for its end."""

    status = 429
    code = "TOO_MANY_STREAMS"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(STREAMS_SECONDS)})


class MethodNotAllowed(AppError):
    """Event streams are read with GET."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class Gateway:
    """The ASGI app. `hub.run()` and `revocations.run()` have to run beside it."""

    def __init__(self, redis: Redis, settings: Settings, states: JobStates) -> None:
        self.bus = EventBus(redis)
        self.hub = Hub(redis)
        self.states = states
        self.settings = settings
        self.revocations = Revocations(redis, self._end)
        self.closing = False
        self._open: dict[str, list[tuple[asyncio.Timeout, Listener]]] = {}
        """Session → its streams."""
        self._streams: Counter[str] = Counter()
        """User → number of open streams."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except AppError as error:
            await send_json(send, error.status, {"detail": error.message, "code": error.code}, error.headers)

    def close(self) -> None:
        """End every stream now; the clients connect to another process and resume."""
        self.closing = True
        for session in list(self._open):
            self._end(session)

    def _end(self, session: str) -> None:
        for timeout, listener in self._open.get(session, ()):
            listener.leave()  # a client library that swallows the cancellation must not keep the stream
            if not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time())

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.settings.service_secret is not None:
            scope["headers"] = proof.without_unproven_identity(self.settings.service_secret, scope["headers"])
        job, last = await self._admit(scope)
        if last is None:
            # Nothing will follow; 204 is how an EventSource is told to stop reconnecting.
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        session, user = _header(scope, SESSION_HEADER), _header(scope, USER_ID_HEADER)
        scope["headers"].clear()  # a kilobyte or two that the server would keep as long as the stream
        self._opened(user)  # no context manager: its generator would cost half a kilobyte a stream
        try:
            async with self.hub.listen(job.id) as listener:
                departure = asyncio.create_task(_departure(receive, listener))
                try:
                    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                    stream = Stream(self.bus, self.hub, self.states, self.settings, job, last, listener)
                    await self._stream(stream, send, session)
                finally:
                    departure.cancel()
        finally:
            self._closed(user)

    def _opened(self, user: str) -> None:
        """TooManyStreams when the user has as many open as one may have."""
        if self._streams[user] >= self.settings.sse_streams_per_user:
            raise TooManyStreams
        self._streams[user] += 1
        OPEN.inc()

    def _closed(self, user: str) -> None:
        OPEN.dec()
        self._streams[user] -= 1
        if not self._streams[user]:
            del self._streams[user]

    async def _admit(self, scope: Scope) -> tuple[Job, int | None]:
        """The job and the seq to resume after (None when the client has the terminal event); AppError otherwise."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        job = _job(scope, query)
        head = await self._head(job, _header(scope, USER_ID_HEADER))
        last = resume_point(_header(scope, "last-event-id") or query.get("last_event_id", [""])[0], head)
        if self.closing:
            raise Unavailable("This process is shutting down; connect again.", retry_after=1)
        return job, None if head.terminal and last >= head.terminal else last

    async def _head(self, job: Job, user_id: str) -> Head:
        if not user_id:
            raise Unauthorized
        try:
            head = await self.bus.head(job.id)
        except RedisError:
            raise Unavailable("Job events are not available at the moment; try again.") from None
        if head is None:  # its events are long over, or lost
            state = await self.states.get(job.service, job.id)
            head = Head(state.user_id, 0, 0) if state else None
        if head is None or head.owner != user_id:
            raise JobNotFound
        return head

    async def _stream(self, stream: Stream, send: Send, session: str) -> None:
        seconds = self.settings.sse_max_duration.total_seconds()
        timeout = asyncio.timeout(seconds)
        this = (timeout, stream.listener)
        self._open.setdefault(session, []).append(this)
        if self.closing or session in self.revocations.recent:
            stream.listener.leave()
        complete = False
        try:
            async with timeout:
                complete = await stream.run(send)
        except TimeoutError:
            pass
        finally:
            self._open[session].remove(this)
            if not self._open[session]:
                del self._open[session]
        last_words = b"" if complete else self._last_words(session, timeout.expired(), seconds)
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await send({"type": "http.response.body", "body": last_words})
        except TimeoutError:
            return

    def _last_words(self, session: str, expired: bool, seconds: float) -> bytes:
        """Reason why the stream ends before its job; empty for a client that left or is to ask another process."""
        if self.closing:
            return b""
        if session in self.revocations.recent:
            return ended_frame()
        return timeout_frame(seconds) if expired else b""


async def _departure(receive: Receive, listener: Listener) -> None:
    """Tell the listener when its client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.leave()


def _job(scope: Scope, query: dict[str, list[str]]) -> Job:
    """The job that either route names; AppError when the request is for neither."""
    match = _EVENTS_PATH.fullmatch(scope["path"])
    if not match and scope["path"] != _LEGACY_PATH:
        raise NotFound("There is nothing at this path.")
    if scope["method"] != "GET":
        raise MethodNotAllowed(headers={"Allow": "GET"})
    service, job_id = match.groups() if match else (Service.SCAN, query.get("job_id", [""])[0])
    if service not in frozenset(Service):
        raise UnsupportedService
    if not JOB_ID_LENGTH[0] <= len(job_id) <= JOB_ID_LENGTH[1]:
        raise InvalidJobId
    return Job(service, job_id.lower())


def _header(scope: Scope, name: str) -> str:
    wanted = name.encode()
    return next((value.decode("latin-1").strip() for key, value in scope["headers"] if key == wanted), "")


def resume_point(last_event_id: str, head: Head) -> int:
    """The seq in a Last-Event-ID: its last number (`7`, `recovery:7`); 0, so everything, for one we never gave."""
    numbers = re.findall(r"[0-9]+", last_event_id[-20:])
    last = int(numbers[-1]) if numbers else 0
    return last if last <= head.seq else 0
