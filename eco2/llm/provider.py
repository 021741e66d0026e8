"""One provider of models: its client, its limits, and the meaning of its answers and failures."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from fnmatch import fnmatchcase
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from prometheus_client import Histogram
from pydantic import ValidationError

from eco2.core.time_limit import time_limit
from eco2.llm.breaker import Breaker
from eco2.llm.pace import Pace
from eco2.llm.settings import Endpoint, LlmSettings
from eco2.llm.streaming import OnText, Written
from eco2.llm.wire import JOB_HEADER, PURPOSE_HEADER, Again, Call, Completion, Drawings, LlmFailed, retry_after, used_up

if TYPE_CHECKING:
    from openai._types import RequestOptions

PATH, IMAGES_PATH = "/chat/completions", "/images/generations"
NOT_DRAWN = ("moderation_blocked", "content_policy_violation")
"""Codes of pictures that the provider will not draw."""
WORTH_PAUSING_SECONDS = 0.5
"""A pause of the provider for which its jobs are left in their queues."""
WAIT_SECONDS = 1.0
"""Time that jobs wait for their turn at a provider that limits its calls: enough to have the next one at hand."""
USUAL_WEIGHT = 0.05

BUCKETS = (0.01, 0.1, 0.5, 1, 2, 4, 8, 16, 32, 64)
QUEUE_SECONDS = Histogram("eco2_llm_queue_seconds", "Wait for a place and a turn", ["provider"], buckets=BUCKETS)


def _now() -> float:
    return asyncio.get_running_loop().time()


class Provider:
    def __init__(self, name: str, endpoint: Endpoint, settings: LlmSettings) -> None:
        # Imported here: 20 MB and most of a second, in processes that import the settings but have no key.
        from eco2.llm.client import client

        self.name, self.endpoint = name, endpoint
        self._seconds = settings.llm_timeout.total_seconds()
        self._places = asyncio.Semaphore(settings.llm_concurrency)
        self.pace = Pace(settings.llm_requests_per_minute, settings.llm_deadline.total_seconds())
        self.breaker = Breaker(name, settings.llm_breaker_failures, settings.llm_breaker_pause.total_seconds(), _now)
        self.usual_seconds = 0.0
        """Of the calls that went through lately."""
        # The places are the bound: a call must never wait for the pool on the time of its attempt.
        self._client = client(endpoint.api_key, endpoint.base_url, 2 * settings.llm_concurrency)
        self._url = f"{endpoint.base_url.rstrip('/')}{PATH}"  # whole: the SDK would join it anew for every call

    async def aclose(self) -> None:
        await self._client.close()

    def serves(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in self.endpoint.models)

    @asynccontextmanager
    async def place(self, until: float) -> AsyncIterator[None]:
        self.breaker.check()
        began = time.perf_counter()
        async with self._places:
            await self.pace.turn(until)
            QUEUE_SECONDS.labels(self.name).observe(time.perf_counter() - began)
            yield

    async def post(self, call: Call) -> Completion:
        """Raises Again and LlmFailed."""
        import httpx2

        began = _now()
        with self.breaker.attempt(), self._translated(began):
            async with time_limit(self._seconds):
                answer = await self._client.post(
                    self._url, content=call.body, cast_to=httpx2.Response, options=_options(call)
                )
            self._note(began, answer.headers)
            return Completion.model_validate_json(answer.content)

    async def draw(self, call: Call, seconds: float) -> Drawings:
        """A picture within that time. LlmFailed: no attempt may follow, a picture is dear and may have been billed.

        Limits of pictures are other ones than those of words: a refusal for them holds back no other call."""
        import httpx2
        import openai

        try:
            with self.breaker.attempt(), self._translated(_now(), seconds):
                try:
                    async with time_limit(seconds):
                        answer = await self._client.post(
                            IMAGES_PATH, content=call.body, cast_to=httpx2.Response, options=_options(call)
                        )
                except openai.APIStatusError as error:
                    if error.code in NOT_DRAWN:
                        raise LlmFailed("refused", str(error.code)) from error
                    if error.status_code == 429:
                        raise LlmFailed("rate_limited", "429") from error
                    raise
                return Drawings.model_validate_json(answer.content)
        except Again as again:
            raise LlmFailed(again.reason, again.detail) from again

    async def stream(self, call: Call, on_text: OnText) -> Written:
        """The whole reply, whose text went to `on_text` as it came. Each wait for a piece has the time of an attempt.

        Raises Again and LlmFailed.
        """
        from openai import AsyncStream

        began, written = _now(), Written()
        with self.breaker.attempt(), self._translated(began):
            async with time_limit(self._seconds):
                pieces = await self._client.post(
                    self._url,
                    content=call.body,
                    cast_to=object,
                    options=_options(call),
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
            self._note(began, pieces.response.headers)
            async with pieces:
                while (piece := await self._next(pieces)) is not None:
                    if text := written.add(piece):
                        await on_text(text)
            if written.finish_reason is None:
                raise Again("invalid", "the reply was cut")
        return written

    async def _next(self, pieces: Any) -> object | None:
        async with time_limit(self._seconds):
            return await anext(pieces, None)

    @contextmanager
    def _translated(self, began: float, seconds: float | None = None) -> Iterator[None]:
        """Turn errors of the SDK and its transport into Again and LlmFailed."""
        import aiohttp
        import httpx2
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise self._verdict(error, began) from error
        except openai.APIConnectionError as error:
            raise _broken(error.__cause__ or error) from error
        except openai.APIError as error:  # told in the middle of a stream
            raise Again("server_error", str(error)[:200]) from error
        except (httpx2.TransportError, aiohttp.ClientError) as error:
            raise _broken(error) from error
        except TimeoutError as error:
            raise Again("timeout", f"no answer within {seconds or self._seconds:g} s") from error
        except (ValidationError, JSONDecodeError, UnicodeDecodeError) as error:
            raise Again("invalid", "the response is not in the form of the API") from error

    def _note(self, began: float, told: Mapping[str, str]) -> None:
        now = _now()
        self.pace.succeeded(now, used_up(told))
        self.usual_seconds += (now - began - self.usual_seconds) * USUAL_WEIGHT

    def _verdict(self, error: Any, began: float) -> Again | LlmFailed:
        """Meaning of an `openai.APIStatusError`; a wait that the provider asks for holds back all of its calls."""
        status, detail = error.status_code, f"{error.status_code} {error.code or ''}".strip()
        if error.code == "insufficient_quota" or (status not in (408, 409, 429) and status < 500):
            return LlmFailed("rejected", detail)
        now, told = _now(), error.response.headers
        after = retry_after(told)
        if status == 429:
            self.pace.refused(now, began, after, used_up(told))
            return Again("rate_limited", detail, after)
        if after is not None:
            self.pace.pause(now, after)
        return Again("server_error", detail, after)

    def room(self) -> int | None:
        """Number of jobs that may be with this provider at once and none waits long for its turn; None: any number."""
        now = _now()
        if self.pace.paused(now) > WORTH_PAUSING_SECONDS:
            return 0
        rate = self.pace.rate(now)
        return None if rate is None else math.ceil(rate * (self.usual_seconds + WAIT_SECONDS))


def _options(call: Call) -> "RequestOptions":
    headers = {"Content-Type": "application/json", JOB_HEADER: call.job, PURPOSE_HEADER: call.purpose}
    # No key is sent; without one that is named here the SDK draws one for every call.
    return {"headers": headers, "idempotency_key": ""}


def _broken(cause: BaseException) -> Again:
    """A connection that was lost while an answer came ends an answer that may have been billed."""
    import aiohttp
    import httpx2

    cut = isinstance(cause, httpx2.ReadError | aiohttp.ClientPayloadError)
    return Again("invalid" if cut else "connection", repr(cause))
