"""Calls of paid language models through the OpenAI API and compatible ones.

One client per provider and process, a bounded number of calls at once, a token bucket, retries with a deadline, and a
daily budget that all processes share through Redis. Every failure is an `LlmFailed` with its reason.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import orjson
from opentelemetry import trace
from prometheus_client import Counter, Histogram
from redis.asyncio import Redis

from eco2.core import telemetry
from eco2.core.time_limit import time_limit
from eco2.llm import streaming
from eco2.llm.budget import Budget, Held, chat_node
from eco2.llm.control import Controls
from eco2.llm.provider import BUCKETS, Provider
from eco2.llm.settings import LlmSettings, Price
from eco2.llm.streaming import OnText, Reply, Tool
from eco2.llm.wire import Again, Call, Drawings, DrawnUsage, LlmFailed, T, Usage, read, response_format

PICTURE = {"n": 1, "size": "1024x1024", "quality": "medium", "output_format": "jpeg", "output_compression": 80}
PICTURE_TOKENS = 1_200
"""Most that such a picture is billed, by the provider's list for `gpt-image-1`: 1,056."""
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 8.0
CALLS = Counter("eco2_llm_calls_total", "Calls by how they ended", ["model", "purpose", "outcome"])
RETRIES = Counter("eco2_llm_retries_total", "Attempts after the first", ["model", "purpose", "reason"])
TOKENS = Counter("eco2_llm_tokens_total", "Tokens as billed", ["model", "purpose", "node", "direction"])
COST = Counter("eco2_llm_cost_usd_total", "Cost by the configured prices", ["model", "purpose", "node"])
SECONDS = Histogram("eco2_llm_seconds", "Time of a call with waits and retries", ["model", "purpose"], buckets=BUCKETS)


Message = Mapping[str, Any] | orjson.Fragment


class _Answer(Protocol):
    @property
    def usage(self) -> Usage | None: ...


A = TypeVar("A", bound=_Answer)
R = TypeVar("R")


@dataclass(frozen=True)
class _Use(Generic[A, R]):
    """One way to use the API: send a request, read the answer; `final` once no attempt may follow."""

    send: Callable[[Provider, Call], Awaitable[A]]
    read: Callable[[A], R]
    final: Callable[[], bool]
    operation: str = "chat"


class Llm:
    """All providers of this process. `redis` holds the day's spending, `controls` what operators changed meanwhile."""

    def __init__(self, settings: LlmSettings, redis: Redis, controls: Controls | None = None) -> None:
        self._settings = settings
        self._controls = controls or Controls(None)
        self._providers = [Provider(name, endpoint, settings) for name, endpoint in settings.endpoints().items()]
        self._budget = Budget(
            redis,
            settings.llm_daily_budget_usd,
            settings.llm_max_output_tokens,
            settings.llm_user_share,
            settings.llm_guest_share,
        )

    async def aclose(self) -> None:
        await self._budget.aclose()
        for provider in self._providers:
            await provider.aclose()

    def serves(self, model: str) -> bool:
        """True when a call for this model could be made: a provider has it, and the settings do not forbid it."""
        return self._settings.llm_enabled and any(provider.serves(model) for provider in self._providers)

    def address_of(self, model: str) -> str:
        """The base URL that calls of this model go to. LlmFailed"""
        return self._provider_of(model).endpoint.base_url

    def room(self) -> int | None:
        """Number of jobs that may be at once with the provider of the default model; None: any number.

        For consumers of a queue: work that has to wait for the provider should stay there."""
        provider = self._default_provider()
        return provider.room() if provider else None

    def calls_per_second(self) -> float | None:
        """As many as the provider of the default model takes now; None where nothing is known to limit it."""
        provider = self._default_provider()
        return provider.pace.rate(asyncio.get_running_loop().time()) if provider else None

    def _default_provider(self) -> Provider | None:
        found = (provider for provider in self._providers if provider.serves(self._settings.llm_default_model))
        return next(found, None) if self._settings.llm_enabled else None

    @property
    def budget(self) -> Budget:
        return self._budget

    def price(self, model: str) -> Price:
        said, usual = self._controls.newest.prices.get(model), self._settings.price(model)
        return usual if said is None else said._replace(call=usual.call)

    async def stopped(self) -> str:
        """Reason for which an operator has stopped all calls, as known within two seconds; "" without one."""
        return await self._controls.stopped()

    def resting(self) -> bool:
        """True while the provider of the default model is left alone because its calls failed."""
        provider = self._default_provider()
        return provider is not None and provider.breaker.open

    def estimate_usd(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """Estimate the cost of a call of this size, for reports of savings; the budget counts billed costs."""
        price = self.price(model)
        return (input_tokens * price.input + output_tokens * price.output) / 1e6

    async def structured(
        self, model: str, schema: type[T], messages: Sequence[Message], *, job: str, purpose: str
    ) -> T:
        """The model's answer in the form of `schema`. Raises LlmFailed within `llm_deadline`."""
        fields = {"messages": messages, "response_format": response_format(schema)}
        use = _Use(Provider.post, partial(read, schema=schema), lambda: False)
        return await self._call(model, fields, use, self._settings.llm_deadline, job, purpose)

    async def reply(
        self,
        model: str,
        messages: Sequence[Message],
        on_text: OnText,
        *,
        tools: Sequence[Tool] = (),
        must_call: bool = False,
        most_tokens: int | None = None,
        search: bool = False,
        job: str,
        purpose: str,
    ) -> Reply:
        """The model's words, each piece of which went to `on_text` as it came, and the calls of tools that it wants, at
        least one where it `must_call`; of `most_tokens`, where they are fewer than `llm_max_output_tokens`. With
        `search` the model, one that can, looks the web up, and the reply names its pages.

        Raises LlmFailed within `llm_reply_deadline`. Once a piece has gone to `on_text` nothing is tried again: what
        was said stays, and it is for the caller to say how it ends.
        """
        said = False

        async def on_piece(text: str) -> None:
            nonlocal said
            said = True
            await on_text(text)

        fields: dict[str, Any] = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        if most_tokens is not None:
            fields["max_completion_tokens"] = min(most_tokens, self._settings.llm_max_output_tokens)
        if search:
            fields["web_search_options"] = {"search_context_size": "low"}
        if tools:
            fields["tools"] = [streaming.rendered(tool) for tool in tools]
            if must_call:
                fields["tool_choice"] = "required"
        use = _Use(partial(Provider.stream, on_text=on_piece), partial(streaming.reply, tools=tools), lambda: said)
        return await self._call(model, fields, use, self._settings.llm_reply_deadline, job, purpose)

    async def draw(self, model: str, prompt: str, *, job: str, purpose: str) -> bytes:
        """A square picture, JPEG where the model gives what is asked. Raises LlmFailed within `llm_image_timeout`;
        `refused` where the provider will not draw this."""
        within, price = self._settings.llm_image_timeout, self.price(model)
        body = orjson.dumps({"model": model, "prompt": prompt, **PICTURE})
        # A token has a byte at least.
        most = Usage(prompt_tokens=len(prompt.encode()), completion_tokens=PICTURE_TOKENS)
        call = Call(model, purpose, job, body, price, most=most)

        async def send(provider: Provider, call: Call) -> Drawings:
            drawn = await provider.draw(call, within.total_seconds())
            # What is sold by the picture tells no tokens.
            return drawn if drawn.billed or not price.call else drawn.model_copy(update={"billed": DrawnUsage()})

        use = _Use(send, lambda drawn: drawn.data[0].b64_json, lambda: False, "image_generation")
        return await self._within(model, purpose, lambda _provider: call, use, within)

    async def _call(
        self, model: str, fields: Mapping[str, Any], use: "_Use[A, R]", within: timedelta, job: str, purpose: str
    ) -> R:
        def call(provider: Provider) -> Call:
            limit = {"max_completion_tokens": self._settings.llm_max_output_tokens}
            body = orjson.dumps({**provider.endpoint.options, "model": model, **limit, **fields})
            return Call(model, purpose, job, body, self.price(model), fields.get("max_completion_tokens"))

        return await self._within(model, purpose, call, use, within)

    async def _within(
        self, model: str, purpose: str, call: Callable[[Provider], Call], use: "_Use[A, R]", within: timedelta
    ) -> R:
        began, outcome = time.perf_counter(), "cancelled"
        seconds = within.total_seconds()
        try:
            named = {"gen_ai.operation.name": use.operation, "gen_ai.request.model": model}
            with telemetry.detail(f"llm.{purpose}", attributes=named):
                async with time_limit(seconds):
                    answer = await self._ask(model, call, use, seconds)
            outcome = "ok"
            return answer
        except LlmFailed as error:
            outcome = error.reason
            raise
        except TimeoutError as error:
            outcome = "timeout"
            raise LlmFailed("timeout", f"no usable answer within {seconds:g} s") from error
        finally:
            CALLS.labels(model, purpose, outcome).inc()
            SECONDS.labels(model, purpose).observe(time.perf_counter() - began, telemetry.exemplar())

    async def _ask(self, model: str, call: Callable[[Provider], Call], use: "_Use[A, R]", seconds: float) -> R:
        until = asyncio.get_running_loop().time() + seconds
        provider = self._provider_of(model)
        if stopped := await self._controls.stopped():
            raise LlmFailed("switched_off", stopped)
        return await self._persist(provider, call(provider), use, until)

    def _provider_of(self, model: str) -> Provider:
        if not self._settings.llm_enabled:
            raise LlmFailed("switched_off")
        for provider in self._providers:
            if provider.serves(model):
                return provider
        raise LlmFailed("no_provider", model)

    async def _persist(self, provider: Provider, call: Call, use: "_Use[A, R]", until: float) -> R:
        """A refusal for coming too fast is no attempt: the pace lets the call wait, or fail if that takes too long."""
        attempt = 1
        while True:
            try:
                return await self._attempt(provider, call, use, until)
            except Again as again:
                failed = again
            if use.final():
                raise LlmFailed(failed.reason, failed.detail) from failed
            if failed.reason != "rate_limited":
                pause = _backoff(attempt, failed.after)
                if attempt == self._settings.llm_max_attempts or asyncio.get_running_loop().time() + pause > until:
                    raise LlmFailed(failed.reason, f"{failed.detail} (attempt {attempt})") from failed
                attempt += 1
                await asyncio.sleep(pause)
            RETRIES.labels(call.model, call.purpose, failed.reason).inc()

    async def _attempt(self, provider: Provider, call: Call, use: "_Use[A, R]", until: float) -> R:
        async with provider.place(until):
            held = await self._budget.hold(call)
            try:
                answer = await use.send(provider, call)
            except (Again, LlmFailed) as error:
                if error.reason in ("timeout", "invalid") or use.final():  # it may have been billed
                    self._budget.lose(held)
                else:
                    await self._budget.settle(held, 0)
                raise
            except BaseException:
                self._budget.lose(held)
                raise
            await self._pay(call, held, answer.usage)
        return use.read(answer)

    async def _pay(self, call: Call, held: Held, usage: Usage | None) -> None:
        if usage is None:
            self._budget.lose(held)
            return
        cost, labels = call.cost(usage), (call.model, call.purpose, chat_node.get())
        TOKENS.labels(*labels, "in").inc(usage.prompt_tokens)
        TOKENS.labels(*labels, "out").inc(usage.completion_tokens)
        COST.labels(*labels).inc(cost / 1e6)
        span = trace.get_current_span()
        span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)
        await self._budget.settle(held, cost)


def _backoff(attempt: int, after: float | None) -> float:
    """Seconds before the next attempt: what the provider asked for, or twice as long each time; with jitter."""
    if after is not None:
        return after + random.uniform(0, 0.1)  # noqa: S311 - spreads retries, keeps no secret
    longest = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311
