"""Requests, responses and errors of a chat completion."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

import orjson
from pydantic import Base64Bytes, BaseModel, Field, ValidationError

from eco2.llm.settings import Price

JOB_HEADER, PURPOSE_HEADER = "X-Eco2-Job", "X-Eco2-Purpose"


T = TypeVar("T", bound=BaseModel)


class LlmFailed(Exception):
    """No usable answer, and no further attempt helps now.

    `reason`: switched_off, no_provider, unavailable (left alone by the breaker), budget_spent, user_share_spent,
    budget_unknown, rate_limited, server_error, timeout, connection, invalid (garbage, wrong schema, cut), refused (by
    the model), rejected (4xx).
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


class Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(BaseModel):
    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


@dataclass(frozen=True)
class Call:
    model: str
    purpose: str
    job: str
    body: bytes
    price: Price
    most_tokens: int | None = None
    """Most that it may answer, where that is less than the settings allow."""
    most: Usage | None = None
    """Most that it may be billed, where that does not depend on the settings."""

    def cost(self, usage: Usage) -> int:
        """Micro-USD. Cached input counts in full."""
        tokens = usage.prompt_tokens * self.price.input + usage.completion_tokens * self.price.output
        return round(tokens + self.price.call * 1e6)


class DrawnUsage(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0


class _Drawing(BaseModel):
    b64_json: Base64Bytes


class Drawings(BaseModel):
    """Answer of the images API."""

    data: list[_Drawing] = Field(min_length=1)
    billed: DrawnUsage | None = Field(default=None, alias="usage")

    @property
    def usage(self) -> Usage | None:
        if self.billed is None:
            return None
        return Usage(prompt_tokens=self.billed.input_tokens, completion_tokens=self.billed.output_tokens)


class Again(Exception):
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


def read(completion: Completion, schema: type[T]) -> T:
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise LlmFailed("refused", (choice.message.refusal or "content filter")[:200])
    if choice.finish_reason == "length":
        raise Again("invalid", "the answer was cut at the token limit")
    try:
        return schema.model_validate_json(choice.message.content or "")
    except ValidationError as error:
        wrong = {".".join(map(str, one["loc"])): one["type"] for one in error.errors()}
        raise Again("invalid", str(wrong)[:200]) from error


class Limit(NamedTuple):
    """Requests that a provider allows, and the seconds in which as many come back."""

    requests: float
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(span: str) -> float | None:
    """`6m0s`, `120ms`, `1.5s`, or a bare number of seconds; None for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", span):
        return float(span)
    parts = _SPAN.findall(span)
    if not parts or "".join(number + unit for number, unit in parts) != span:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def used_up(headers: Mapping[str, str]) -> Limit | None:
    """The provider's limit of requests, where its headers say that none is left of it."""
    if headers.get("x-ratelimit-remaining-requests", "") != "0":
        return None
    requests = headers.get("x-ratelimit-limit-requests", "")
    seconds = seconds_of(headers.get("x-ratelimit-reset-requests", ""))
    if not requests.isdigit() or not int(requests) or not seconds:
        return None
    return Limit(int(requests), seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from the standard header (number or date), the one in milliseconds, or those of the limit reached."""
    if (milliseconds := headers.get("retry-after-ms", "")).isdigit():
        return int(milliseconds) / 1000
    value = headers.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return _tokens_back(headers)
    return max(0.0, moment.timestamp() - time.time())


def _tokens_back(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit of tokens that is used up is whole again."""
    if headers.get("x-ratelimit-remaining-tokens", "") != "0":
        return None
    return seconds_of(headers.get("x-ratelimit-reset-tokens", ""))
