"""Which model is asked for a job, what is remembered of its answers, and what happens when it fails."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client import Counter

from eco2.scan.cache import ResultCache
from eco2.scan.phash import phash
from eco2.scan.providers import Embedded, Provider, ProviderFailed

log = logging.getLogger(__name__)

Json = dict[str, Any]

FALLBACKS = Counter(
    "eco2_scan_fallbacks_total", "Stages answered by the embedded model because the paid one failed", ["stage"]
)


@dataclass(frozen=True)
class Eyes:
    """`paid` gives the provider of a requested model name (None: the default model), or None without a key.

    What `look` and `answer` return carries `source`: where it came from (`eco2.scan.cache.Source`, or `fallback`).
    """

    embedded: Embedded
    paid: Callable[[str | None], Provider | None]
    cache: ResultCache
    executor: Executor

    async def look(self, data: bytes, content_type: str, model: str | None) -> Json:
        """A VisionResult as JSON. The embedded model answers where the paid one fails; that is not remembered."""
        provider = self.paid(model)
        if provider is None:
            # The embedded model costs as much as a lock: let two do the same work now and then.
            return await self._look(self.embedded, data, content_type, share=False)
        try:
            return await self._look(provider, data, content_type, share=True)
        except ProviderFailed as error:
            _fell_back("vision", error)
            return {**(await self.embedded.look(data, content_type)).to_json(), "source": "fallback"}

    async def _look(self, provider: Provider, data: bytes, content_type: str, *, share: bool) -> Json:
        async def compute() -> Json:
            return (await provider.look(data, content_type)).to_json()

        async def look_alike() -> int:
            return await asyncio.get_running_loop().run_in_executor(self.executor, phash, data)

        found, source = await self.cache.get_or_compute(
            "vision", provider.vision_version, data, compute, share=share, look_alike=look_alike if share else None
        )
        return {**found, "source": source}

    async def answer(self, rule: Mapping[str, Any], composed: Json, user_input: str | None, model: str | None) -> Json:
        """`composed`, in the words of the paid model where there is one."""
        provider = self.paid(model)
        if provider is None or rule["item_id"] is None:
            return {**composed, "source": "rules"}

        async def compute() -> Json:
            return await provider.answer(rule, composed, user_input)

        material = orjson.dumps([composed, user_input], option=orjson.OPT_SORT_KEYS)
        try:
            found, source = await self.cache.get_or_compute("answer", provider.answer_version, material, compute)
        except ProviderFailed as error:
            _fell_back("answer", error)
            return {**composed, "source": "fallback"}
        return {**found, "source": source}


def _fell_back(stage: str, error: ProviderFailed) -> None:
    log.warning("the paid model failed, the embedded one answers: %s", error)
    FALLBACKS.labels(stage).inc()
