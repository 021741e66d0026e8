"""Calls of paid language models through the OpenAI API and whatever speaks its chat completions.

One client per provider and process, a bounded number of calls at once, a token bucket, retries with a deadline, and a
daily budget that all processes share through Redis. Everything that goes wrong is one `LlmFailed` with its reason.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any

import orjson
from prometheus_client import Counter, Histogram
from pydantic import ValidationError
from redis.asyncio import Redis

from eco2.core import telemetry
from eco2.core.time_limit import time_limit
from eco2.llm.budget import Budget, Held
from eco2.llm.pace import Pace
from eco2.llm.settings import Endpoint, LlmSettings
from eco2.llm.wire import (
    JOB_HEADER,
    PURPOSE_HEADER,
    Again,
    Call,
    Completion,
    LlmFailed,
    T,
    Usage,
    read,
    response_format,
    retry_after,
    used_up,
)

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 60.0
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 8.0
WORTH_PAUSING_SECONDS = 0.5
"""A pause of the provider for which its jobs are left in their queues."""
WAIT_SECONDS = 1.0
"""How long jobs wait for their turn at a provider that limits its calls: enough to have the next one at hand."""
USUAL_WEIGHT = 0.05

CALLS = Counter("eco2_llm_calls_total", "Calls by how they ended", ["model", "purpose", "outcome"])
RETRIES = Counter("eco2_llm_retries_total", "Attempts after the first", ["model", "purpose", "reason"])
TOKENS = Counter("eco2_llm_tokens_total", "Tokens as billed", ["model", "purpose", "direction"])
COST = Counter("eco2_llm_cost_usd_total", "Cost by the configured prices", ["model", "purpose"])
BUCKETS = (0.01, 0.1, 0.5, 1, 2, 4, 8, 16, 32, 64)
SECONDS = Histogram("eco2_llm_seconds", "Time of a call with waits and retries", ["model", "purpose"], buckets=BUCKETS)
QUEUE_SECONDS = Histogram("eco2_llm_queue_seconds", "Wait for a place and a turn", ["provider"], buckets=BUCKETS)


class _Provider:
    def __init__(self, name: str, endpoint: Endpoint, settings: LlmSettings) -> None:
        # Imported here: 20 MB and most of a second, in processes that import the settings but have no key.
        from eco2.llm.client import Client

        self.name, self.endpoint = name, endpoint
        self._seconds = settings.llm_timeout.total_seconds()
        self._places = asyncio.Semaphore(settings.llm_concurrency)
        self.pace = Pace(settings.llm_requests_per_minute, settings.llm_deadline.total_seconds())
        self.usual_seconds = 0.0
        """Of the calls that went through lately."""
        self._client = Client(
            api_key=endpoint.api_key,
            base_url=endpoint.base_url,
            connect_seconds=CONNECT_SECONDS,
            # The places are the bound: a call must never wait for the pool on the time of its attempt.
            connections=2 * settings.llm_concurrency,
            keepalive_seconds=KEEPALIVE_SECONDS,
        )

    async def aclose(self) -> None:
        await self._client.close()

    def serves(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in self.endpoint.models)

    @asynccontextmanager
    async def place(self, until: float) -> AsyncIterator[None]:
        began = time.perf_counter()
        async with self._places:
            await self.pace.turn(until)
            QUEUE_SECONDS.labels(self.name).observe(time.perf_counter() - began)
            yield

    async def post(self, call: Call) -> Completion:
        """Raises Again and LlmFailed."""
        import aiohttp
        import openai

        headers = {JOB_HEADER: call.job, PURPOSE_HEADER: call.purpose}
        began = asyncio.get_running_loop().time()
        try:
            async with time_limit(self._seconds):
                answer, told = await self._client.post_json("/chat/completions", call.body, headers)
            self._note(began, told)
            return Completion.model_validate_json(answer)
        except openai.APIStatusError as error:
            raise self._verdict(error, began) from error
        except aiohttp.ClientError as error:
            cut = isinstance(error, aiohttp.ClientPayloadError)
            raise Again("invalid" if cut else "connection", repr(error)) from error
        except TimeoutError as error:
            raise Again("timeout", f"no answer within {self._seconds:g} s") from error
        except ValidationError as error:
            raise Again("invalid", "the response is no chat completion") from error

    def _note(self, began: float, told: Mapping[str, str]) -> None:
        now = asyncio.get_running_loop().time()
        self.pace.succeeded(now, used_up(told))
        self.usual_seconds += (now - began - self.usual_seconds) * USUAL_WEIGHT

    def _verdict(self, error: Any, began: float) -> Again | LlmFailed:
        """Meaning of an `openai.APIStatusError`; a wait that the provider asks for holds back all of its calls."""
        status, detail = error.status_code, f"{error.status_code} {error.code or ''}".strip()
        if error.code == "insufficient_quota" or (status not in (408, 409, 429) and status < 500):
            return LlmFailed("rejected", detail)
        now, told = asyncio.get_running_loop().time(), error.response.headers
        after = retry_after(told)
        if status == 429:
            self.pace.refused(now, began, after, used_up(told))
            return Again("rate_limited", detail, after)
        if after is not None:
            self.pace.pause(now, after)
        return Again("server_error", detail, after)

    def room(self) -> int | None:
        """Number of jobs that may be with this provider at once and none waits long for its turn; None: any number."""
        now = asyncio.get_running_loop().time()
        if self.pace.paused(now) > WORTH_PAUSING_SECONDS:
            return 0
        rate = self.pace.rate(now)
        return None if rate is None else math.ceil(rate * (self.usual_seconds + WAIT_SECONDS))


class Llm:
    """All providers of this process. `redis` holds the day's spending."""

    def __init__(self, settings: LlmSettings, redis: Redis) -> None:
        self._settings = settings
        self._providers = [_Provider(name, endpoint, settings) for name, endpoint in settings.endpoints().items()]
        self._budget = Budget(redis, settings.llm_daily_budget_usd, settings.llm_max_output_tokens)

    async def aclose(self) -> None:
        await self._budget.aclose()
        for provider in self._providers:
            await provider.aclose()

    def serves(self, model: str) -> bool:
        """True when a call for this model could be made: switched on, and a provider has it."""
        return self._settings.llm_enabled and any(provider.serves(model) for provider in self._providers)

    def address_of(self, model: str) -> str:
        """The base URL that calls of this model go to. LlmFailed"""
        return self._provider_of(model).endpoint.base_url

    def room(self) -> int | None:
        """Number of jobs that may be at once with the provider of the default model; None: any number.

        For whoever takes jobs from a queue: what has to wait for the provider is better left there."""
        provider = self._default_provider()
        return provider.room() if provider else None

    def calls_per_second(self) -> float | None:
        """As many as the provider of the default model takes now; None where nothing is known to limit it."""
        provider = self._default_provider()
        return provider.pace.rate(asyncio.get_running_loop().time()) if provider else None

    def _default_provider(self) -> _Provider | None:
        found = (provider for provider in self._providers if provider.serves(self._settings.llm_default_model))
        return next(found, None) if self._settings.llm_enabled else None

    @property
    def budget(self) -> Budget:
        return self._budget

    def estimate_usd(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """Estimate the cost of a call of this size, for reports of what was saved; the budget counts what is billed."""
        price = self._settings.price(model)
        return (input_tokens * price.input + output_tokens * price.output) / 1e6

    async def structured(
        self,
        model: str,
        schema: type[T],
        messages: Sequence[Mapping[str, Any] | orjson.Fragment],
        *,
        job: str,
        purpose: str,
    ) -> T:
        """The model's answer in the form of `schema`. Raises LlmFailed within `llm_deadline`."""
        began, outcome = time.perf_counter(), "cancelled"
        try:
            with telemetry.span(f"llm.{purpose}", attributes={"llm.model": model}):
                answer = await self._ask(model, schema, messages, job, purpose)
            outcome = "ok"
            return answer
        except LlmFailed as error:
            outcome = error.reason
            raise
        finally:
            CALLS.labels(model, purpose, outcome).inc()
            SECONDS.labels(model, purpose).observe(time.perf_counter() - began)

    async def _ask(self, model: str, schema: type[T], messages: Sequence[Any], job: str, purpose: str) -> T:
        provider = self._provider_of(model)
        body = {
            **provider.endpoint.options,
            "model": model,
            "messages": messages,
            "response_format": response_format(schema),
            "max_completion_tokens": self._settings.llm_max_output_tokens,
        }
        call = Call(model, purpose, job, orjson.dumps(body), self._settings.price(model))
        seconds = self._settings.llm_deadline.total_seconds()
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with time_limit(seconds):
                return await self._persist(provider, call, schema, until)
        except TimeoutError as error:
            raise LlmFailed("timeout", f"no usable answer within {seconds:g} s") from error

    def _provider_of(self, model: str) -> _Provider:
        if not self._settings.llm_enabled:
            raise LlmFailed("switched_off")
        for provider in self._providers:
            if provider.serves(model):
                return provider
        raise LlmFailed("no_provider", model)

    async def _persist(self, provider: _Provider, call: Call, schema: type[T], until: float) -> T:
        """A refusal for coming too fast is no attempt: the pace lets the call wait, or fail if that takes too long."""
        attempt = 1
        while True:
            try:
                return await self._attempt(provider, call, schema, until)
            except Again as again:
                failed = again
            if failed.reason != "rate_limited":
                pause = _backoff(attempt, failed.after)
                if attempt == self._settings.llm_max_attempts or asyncio.get_running_loop().time() + pause > until:
                    raise LlmFailed(failed.reason, f"{failed.detail} (attempt {attempt})") from failed
                attempt += 1
                await asyncio.sleep(pause)
            RETRIES.labels(call.model, call.purpose, failed.reason).inc()

    async def _attempt(self, provider: _Provider, call: Call, schema: type[T], until: float) -> T:
        async with provider.place(until):
            held = await self._budget.hold(call)
            try:
                completion = await provider.post(call)
            except (Again, LlmFailed) as error:
                if error.reason in ("timeout", "invalid"):  # it may have been billed
                    self._budget.lose(held)
                else:
                    await self._budget.settle(held, 0)
                raise
            except BaseException:
                self._budget.lose(held)
                raise
            await self._pay(call, held, completion.usage)
        return read(completion, schema)

    async def _pay(self, call: Call, held: Held, usage: Usage | None) -> None:
        if usage is None:
            self._budget.lose(held)
            return
        cost, labels = call.cost(usage), (call.model, call.purpose)
        TOKENS.labels(*labels, "in").inc(usage.prompt_tokens)
        TOKENS.labels(*labels, "out").inc(usage.completion_tokens)
        COST.labels(*labels).inc(cost / 1e6)
        await self._budget.settle(held, cost)


def _backoff(attempt: int, after: float | None) -> float:
    """Seconds before the next attempt: what the provider asked for, or twice as long each time; with jitter."""
    if after is not None:
        return after + random.uniform(0, 0.1)  # noqa: S311 - spreads retries, keeps no secret
    longest = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311
