"""Calls of paid language models through the OpenAI API and whatever speaks its chat completions.

One client per provider and process, a bounded number of calls at once, a token bucket, retries with a deadline, and a
daily budget that all processes share through Redis. Everything that goes wrong is one `LlmFailed` with its reason.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeVar

import httpx2
import orjson
from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.core import telemetry
from eco2.core.settings import Duration, SettingsGroup

OPENAI_URL = "https://api.openai.com/v1"
JOB_HEADER, PURPOSE_HEADER = "X-Eco2-Job", "X-Eco2-Purpose"
CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 60.0
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 8.0
LONGEST_PAUSE_SECONDS = 60.0
"""A provider that asks for more is asked again after this long."""
SPEND_SECONDS = 2.0  # longest wait for the counter of the day's spending
COUNT_SECONDS = 1.0  # how often spending that no cap watches is added to the counter
SPEND_TTL_SECONDS = 3 * 24 * 3600
INPUT_TOKENS_HELD = 10_000
"""Input of one call as assumed before its usage is known: the longest prompt with one photo."""

CALLS = Counter("eco2_llm_calls_total", "Calls by how they ended", ["model", "purpose", "outcome"])
RETRIES = Counter("eco2_llm_retries_total", "Attempts after the first", ["model", "purpose", "reason"])
TOKENS = Counter("eco2_llm_tokens_total", "Tokens as billed", ["model", "purpose", "direction"])
COST = Counter("eco2_llm_cost_usd_total", "Cost by the configured prices", ["model", "purpose"])
SPENT_TODAY = Gauge("eco2_llm_spent_today_usd", "The budget's counter as last seen, with what is held for open calls")
BUCKETS = (0.01, 0.1, 0.5, 1, 2, 4, 8, 16, 32, 64)
SECONDS = Histogram("eco2_llm_seconds", "Time of a call with waits and retries", ["model", "purpose"], buckets=BUCKETS)
QUEUE_SECONDS = Histogram("eco2_llm_queue_seconds", "Wait for a place and a turn", ["provider"], buckets=BUCKETS)

log = logging.getLogger(__name__)
T = TypeVar("T", bound=BaseModel)


class LlmFailed(Exception):
    """No usable answer, and no further attempt helps now.

    `reason`: switched_off, no_provider, budget_spent, budget_unknown, rate_limited, server_error, timeout, connection,
    invalid (garbage, wrong schema, cut), refused (by the model), rejected (4xx).
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


# --- settings ---------------------------------------------------------------------------------------------------------


class Price(NamedTuple):
    """USD per million tokens; in JSON `[input, output]`."""

    input: float
    output: float


class Endpoint(BaseModel):
    """A provider. `models` are names or patterns (`gemini-*`); `options` go into every request body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    api_key: str
    models: tuple[str, ...]
    options: dict[str, Any] = {}


# A starting point for the budget, from the providers' public lists; check them against your contract.
DEFAULT_PRICES = {
    "gpt-5.2": Price(1.75, 14),
    "gpt-5.2-pro": Price(21, 168),
    "gpt-5.1": Price(1.25, 10),
    "gpt-5": Price(1.25, 10),
    "gpt-5-pro": Price(15, 120),
    "gpt-5-mini": Price(0.25, 2),
    "gemini-3-pro-preview": Price(2, 12),
    "gemini-3-flash-preview": Price(0.5, 3),
    "gemini-2.5-pro": Price(1.25, 10),
    "gemini-2.5-flash": Price(0.3, 2.5),
    "gemini-2.5-flash-lite": Price(0.1, 0.4),
    "gemini-2.0-flash": Price(0.1, 0.4),
    "gemini-2.0-flash-lite": Price(0.075, 0.3),
}


class LlmSettings(SettingsGroup):
    llm_enabled: bool = True
    """The kill switch: false makes every call fail at once."""
    llm_api_key: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    """Without it, and without `llm_providers`, there is no LLM."""
    llm_base_url: str = OPENAI_URL
    llm_models: tuple[str, ...] = ()
    """Models (names or patterns) of the provider at `llm_base_url`; empty: gpt-* at OpenAI, any elsewhere."""
    llm_options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request body to it, such as `{"reasoning_effort": "low"}`."""
    llm_providers: dict[str, Endpoint] = Field(default_factory=dict)
    """Further providers by name, asked for a model before the default one."""
    llm_default_model: str = "gpt-5.2"
    llm_concurrency: int = Field(default=64, ge=1)
    """Calls at once per provider and process."""
    llm_requests_per_minute: int = Field(default=500, ge=1)
    """Calls begun per provider and process, at most a second's worth of them at once."""
    llm_timeout: Duration = timedelta(seconds=20)
    """Of one attempt."""
    llm_deadline: Duration = timedelta(seconds=45)
    """Of a call with its waits and retries; below the time limit of the stage that makes it."""
    llm_max_attempts: int = Field(default=4, ge=1)
    llm_max_output_tokens: int = Field(default=4096, ge=1)
    """Thinking included."""
    llm_daily_budget_usd: float | None = Field(default=None, ge=0)
    """Of all processes together, per day (UTC)."""
    llm_prices: dict[str, Price] = Field(default_factory=dict)
    """Laid over DEFAULT_PRICES. A model without a price counts as the dearest one; give your own models `[0, 0]`."""

    def endpoints(self) -> dict[str, Endpoint]:
        """Every provider by name, in the order in which they are asked for a model."""
        if self.llm_api_key is None:
            return dict(self.llm_providers)
        models = self.llm_models or (("gpt-*",) if self.llm_base_url == OPENAI_URL else ("*",))
        url, key = self.llm_base_url, self.llm_api_key
        default = Endpoint(base_url=url, api_key=key, models=models, options=self.llm_options)
        return {**self.llm_providers, "default": default}

    def price(self, model: str) -> Price:
        prices = DEFAULT_PRICES | self.llm_prices
        return prices.get(model) or max(prices.values(), key=lambda price: price.output)


# --- what goes over the wire ------------------------------------------------------------------------------------------


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass(frozen=True)
class _Call:
    model: str
    purpose: str
    job: str
    body: bytes
    price: Price

    def cost(self, usage: _Usage) -> int:
        """Micro-USD. Cached input counts in full."""
        return round(usage.prompt_tokens * self.price.input + usage.completion_tokens * self.price.output)


class _Again(Exception):
    """An attempt failed in a way that may pass. `after`: seconds that the provider asked to wait."""

    def __init__(self, reason: str, detail: str, after: float | None = None) -> None:
        self.reason, self.detail, self.after = reason, detail, after
        super().__init__(detail)


@lru_cache(maxsize=64)
def response_format(schema: type[BaseModel]) -> orjson.Fragment:
    """The schema as the API wants it, rendered once per class.

    Strict mode wants every object closed and every field required: forbid extras, give no defaults.
    """
    form = {"name": re.sub(r"\W", "_", schema.__name__), "strict": True, "schema": schema.model_json_schema()}
    return orjson.Fragment(orjson.dumps({"type": "json_schema", "json_schema": form}))


def _read(completion: _Completion, schema: type[T]) -> T:
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise LlmFailed("refused", (choice.message.refusal or "content filter")[:200])
    if choice.finish_reason == "length":
        raise _Again("invalid", "the answer was cut at the token limit")
    try:
        return schema.model_validate_json(choice.message.content or "")
    except ValidationError as error:
        wrong = {".".join(map(str, one["loc"])): one["type"] for one in error.errors()}
        raise _Again("invalid", str(wrong)[:200]) from error


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds, from the standard header (number or date) or the one in milliseconds."""
    if (milliseconds := headers.get("retry-after-ms", "")).isdigit():
        return int(milliseconds) / 1000
    value = headers.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


# --- one provider -----------------------------------------------------------------------------------------------------


class _Pace:
    """A token bucket that holds one second's worth, and that `pause` closes for a while."""

    def __init__(self, per_minute: int) -> None:
        self._interval = 60 / per_minute
        self._slack = max(0.0, 1 - self._interval)
        self._next = self._paused_until = 0.0

    def pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + min(seconds, LONGEST_PAUSE_SECONDS))
        self._next = max(self._next, self._paused_until)

    def take(self, now: float, until: float) -> float:
        """The time of the next free turn, which is then taken. LlmFailed when it comes after `until`."""
        start = max(self._next, now - self._slack)
        if start > until:
            raise LlmFailed("rate_limited", f"the next free turn is in {start - now:.1f} s")
        self._next = start + self._interval
        return start

    async def turn(self, until: float) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, self.take(clock(), until) - clock()))
            if clock() >= self._paused_until:
                return


class _Provider:
    def __init__(self, name: str, endpoint: Endpoint, settings: LlmSettings) -> None:
        # Imported here: 20 MB and most of a second, in processes that import the settings but have no key.
        from eco2.core.llm_client import Client

        self.name, self.endpoint = name, endpoint
        self._seconds = settings.llm_timeout.total_seconds()
        self._places = asyncio.Semaphore(settings.llm_concurrency)
        self.pace = _Pace(settings.llm_requests_per_minute)
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

    async def post(self, call: _Call) -> _Completion:
        """Raises _Again and LlmFailed."""
        import aiohttp
        import openai

        headers = {JOB_HEADER: call.job, PURPOSE_HEADER: call.purpose}
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._client.post_json("/chat/completions", call.body, headers)
            return _Completion.model_validate_json(answer)
        except openai.APIStatusError as error:
            raise self._verdict(error) from error
        except aiohttp.ClientError as error:
            cut = isinstance(error, aiohttp.ClientPayloadError)
            raise _Again("invalid" if cut else "connection", repr(error)) from error
        except TimeoutError as error:
            raise _Again("timeout", f"no answer within {self._seconds:g} s") from error
        except ValidationError as error:
            raise _Again("invalid", "the response is no chat completion") from error

    def _verdict(self, error: Any) -> _Again | LlmFailed:
        """What an `openai.APIStatusError` means; a wait that the provider asks for holds back all of its calls."""
        status, detail = error.status_code, f"{error.status_code} {error.code or ''}".strip()
        if error.code == "insufficient_quota" or (status not in (408, 409, 429) and status < 500):
            return LlmFailed("rejected", detail)
        after = _retry_after(error.response.headers)
        if after is not None:
            self.pace.pause(asyncio.get_running_loop().time(), after)
        return _Again("rate_limited" if status == 429 else "server_error", detail, after)


# --- the budget -------------------------------------------------------------------------------------------------------

_HOLD = """
local spent = tonumber(redis.call('GET', KEYS[1]) or 0)
if spent + ARGV[1] > tonumber(ARGV[2]) then return -1 end
spent = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return spent
"""
_ADD = "local spent = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], ARGV[2]) return spent"


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def spent_key(day: str) -> str:
    """Redis key of what a day (UTC, ISO) cost so far, in micro-USD; kept for SPEND_TTL_SECONDS."""
    return f"eco2:llm:spent:{day}"


class _Held(NamedTuple):
    """Micro-USD put aside for one attempt on the counter at `key`."""

    key: str
    amount: int


class _Budget:
    """The day's spending in micro-USD. With a cap, the most that an attempt may cost is held before it is made.

    So the cap is never passed, also by many processes at once; it fails closed: a cap that cannot be checked is no
    cap. Without a cap spending is only counted, every COUNT_SECONDS, and Redis being away stops nothing. What is held
    stays spent when the outcome is unknown (time-out, crash), since it may have been billed.
    """

    def __init__(self, redis: Redis, cap_usd: float | None, output_tokens: int) -> None:
        self._cap = None if cap_usd is None else round(cap_usd * 1e6)
        self._most = _Usage(prompt_tokens=INPUT_TOKENS_HELD, completion_tokens=output_tokens)
        self._hold = redis.register_script(_HOLD)
        self._add = redis.register_script(_ADD)
        self._uncounted = 0
        self._counting: asyncio.Task[None] | None = None

    async def hold(self, call: _Call) -> _Held:
        key = spent_key(today())
        if self._cap is None:
            return _Held(key, 0)
        amount = call.cost(self._most)
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                spent = int(await self._hold(keys=[key], args=[amount, self._cap, SPEND_TTL_SECONDS]))
        except (RedisError, OSError, TimeoutError) as error:
            raise LlmFailed("budget_unknown", repr(error)) from error
        if spent < 0:
            raise LlmFailed("budget_spent", f"the {self._cap / 1e6:g} USD of the day")
        SPENT_TODAY.set(spent / 1e6)
        return _Held(key, amount)

    async def settle(self, held: _Held, cost: int) -> None:
        """Replace what was held by what it cost. When that fails, what was held stays."""
        if self._cap is None:
            self._count_later(cost)
        elif cost != held.amount:
            await self._count(held.key, cost - held.amount)

    def _count_later(self, cost: int) -> None:
        self._uncounted += cost
        if self._uncounted and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._count_soon())

    async def _count_soon(self) -> None:
        await asyncio.sleep(COUNT_SECONDS)
        await self._count_now()

    async def aclose(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
        await self._count_now()

    async def _count_now(self) -> None:
        """Add what was spent since the last time."""
        amount, self._uncounted = self._uncounted, 0
        if amount:
            await self._count(spent_key(today()), amount)

    async def _count(self, key: str, amount: int) -> None:
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                spent = int(await self._add(keys=[key], args=[amount, SPEND_TTL_SECONDS]))
            SPENT_TODAY.set(spent / 1e6)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("LLM spending was not counted", extra={"micro_usd": amount, "error": repr(error)})


# --- calling ----------------------------------------------------------------------------------------------------------


class Llm:
    """All providers of this process. `redis` holds the day's spending."""

    def __init__(self, settings: LlmSettings, redis: Redis) -> None:
        self._settings = settings
        self._providers = [_Provider(name, endpoint, settings) for name, endpoint in settings.endpoints().items()]
        self._budget = _Budget(redis, settings.llm_daily_budget_usd, settings.llm_max_output_tokens)

    async def aclose(self) -> None:
        await self._budget.aclose()
        for provider in self._providers:
            await provider.aclose()

    def serves(self, model: str) -> bool:
        """Whether a call for this model could be made: switched on, and a provider has it."""
        return self._settings.llm_enabled and any(provider.serves(model) for provider in self._providers)

    def estimate_usd(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """What a call of this size would cost, for reports of what was saved; the budget counts what is billed."""
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
        call = _Call(model, purpose, job, orjson.dumps(body), self._settings.price(model))
        seconds = self._settings.llm_deadline.total_seconds()
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._persist(provider, call, schema, limit.when() or 0.0)
        except TimeoutError as error:
            raise LlmFailed("timeout", f"no usable answer within {seconds:g} s") from error

    def _provider_of(self, model: str) -> _Provider:
        if not self._settings.llm_enabled:
            raise LlmFailed("switched_off")
        for provider in self._providers:
            if provider.serves(model):
                return provider
        raise LlmFailed("no_provider", model)

    async def _persist(self, provider: _Provider, call: _Call, schema: type[T], until: float) -> T:
        for attempt in range(1, self._settings.llm_max_attempts + 1):
            try:
                return await self._attempt(provider, call, schema, until)
            except _Again as again:
                failed = again
            pause = _backoff(attempt, failed.after)
            if attempt == self._settings.llm_max_attempts or asyncio.get_running_loop().time() + pause > until:
                break
            RETRIES.labels(call.model, call.purpose, failed.reason).inc()
            await asyncio.sleep(pause)
        raise LlmFailed(failed.reason, f"{failed.detail} (attempt {attempt})")

    async def _attempt(self, provider: _Provider, call: _Call, schema: type[T], until: float) -> T:
        async with provider.place(until):
            held = await self._budget.hold(call)
            try:
                completion = await provider.post(call)
            except (_Again, LlmFailed) as error:
                if error.reason not in ("timeout", "invalid"):
                    await self._budget.settle(held, 0)
                raise
            await self._pay(call, held, completion.usage)
        return _read(completion, schema)

    async def _pay(self, call: _Call, held: _Held, usage: _Usage | None) -> None:
        if usage is None:
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
