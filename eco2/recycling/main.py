"""recycling-api: the knowledge base as an API. It has no database: what it serves is loaded at start."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from eco2 import knowledge
from eco2.core import redis, telemetry
from eco2.core.app import create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.settings import load
from eco2.core.turns import PerMinute
from eco2.knowledge import Knowledge
from eco2.llm import spending
from eco2.llm.calls import Llm
from eco2.recycling.api import router
from eco2.recycling.service import Paid
from eco2.recycling.settings import ApiSettings

NAME = "recycling-api"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """`paid`: the model that words answers, where one is configured; its failure only makes them plainer."""

    knowledge: Knowledge
    paid: Paid | None
    questions: PerMinute

    def checks(self) -> Mapping[str, Check]:
        return {}


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with AsyncExitStack() as stack:
            questions = PerMinute(settings.questions_per_minute)
            paid = _paid(settings, stack)
            llm = paid.llm if paid else None
            log.info("%s", await spending.described(settings, llm, "answers are composed from the rules"))
            yield Resources(knowledge.load(settings.data_dir), paid, questions)

    return create_app(NAME, settings, resources, router)


def _paid(settings: ApiSettings, stack: AsyncExitStack) -> Paid | None:
    if not settings.endpoints() or settings.redis_cache_url is None:
        return None
    cache = redis.connect(settings.redis_cache_url)
    stack.push_async_callback(cache.aclose)
    llm = Llm(settings, cache)
    stack.push_async_callback(llm.aclose)
    return Paid(llm, settings.llm_default_model)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
