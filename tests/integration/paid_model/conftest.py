"""The official client against the emulator, with a real Redis for the budget."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from eco2 import knowledge as kb
from eco2.core import telemetry
from eco2.llm import budget, calls
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.photos.pool import Decoders
from eco2.photos.settings import PhotoSettings
from eco2.scan import stages
from eco2.scan.audience import ANYBODY
from eco2.scan.outputs import FinalAnswer, Rule
from eco2.scan.vision.llm import LlmProvider, Prompts
from eco2.scan.vision.picture import FOR_PAID, Picture
from eco2.scan.vision.providers import Provider
from tests import photos
from tests.llm_emulator import MODEL, Emulator

PURPOSES = ("vision", "answer")
DECODERS = Decoders(PhotoSettings())
KNOWLEDGE = kb.load()


@pytest.fixture(autouse=True)
def of_one_day(one_day: None) -> None:
    """See `one_day`."""


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BACKOFF_SECONDS", 0.05)


@pytest.fixture(scope="session", autouse=True)
async def decoding() -> AsyncIterator[None]:
    async with DECODERS:
        yield


def picture(data: bytes) -> Picture:
    return Picture(DECODERS, "somebody", FOR_PAID, data)


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts.of(KNOWLEDGE)


Make = Callable[..., LlmProvider]


@pytest.fixture
async def provider(emulator: Emulator, cache: Redis, prompts: Prompts) -> AsyncIterator[Make]:
    """Makes a provider with its own client; settings without the prefix `llm_`."""
    opened: list[Llm] = []

    def make(model: str = MODEL, **settings: Any) -> LlmProvider:
        quick = {"timeout": timedelta(seconds=0.5), "deadline": timedelta(seconds=8), "requests_per_minute": 100_000}
        given = {f"llm_{name}": value for name, value in {**quick, "base_url": emulator.base_url, **settings}.items()}
        opened.append(Llm(LlmSettings(**{"llm_api_key": "key", **given}), cache))
        return LlmProvider(opened[-1], model, prompts)

    telemetry.job_id.set("job-1")
    yield make
    for llm in opened:
        await llm.aclose()


PHOTO = photos.jpeg()
ITEM = "water_pet"
RULE = Rule(ITEM, "clear_pet", needs_choice=False, situations=(), disposal_rules=None, candidates=())


def composed() -> FinalAnswer:
    return stages.answer(KNOWLEDGE, RULE, None)


async def ask(provider: Provider, purpose: str) -> Any:
    if purpose == "vision":
        return await provider.look(picture(PHOTO))
    return await provider.answer(RULE, composed(), "라벨을 못 뗐어요", ANYBODY)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


ONE_CALL = {MODEL: (1.0, 1.0)}
"""Per million tokens: so a call costs as many micro-USD as it has tokens, and 14,096 are held for it."""
HELD = budget.INPUT_TOKENS_HELD + LlmSettings().llm_max_output_tokens
