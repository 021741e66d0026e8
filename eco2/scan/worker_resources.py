"""Dependencies of scan-worker."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eco2 import knowledge
from eco2.contracts.events import Service
from eco2.core.ops import Check
from eco2.core.postgres import open_database
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge
from eco2.llm.calls import Llm
from eco2.llm.control import Controls
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.events import EventBus
from eco2.photos.pool import Decoders
from eco2.scan.services import Services
from eco2.scan.settings import WorkerSettings
from eco2.scan.supply import Teller
from eco2.scan.vision.beliefs import Senses
from eco2.scan.vision.cache import ResultCache
from eco2.scan.vision.choose import Cascade, Models
from eco2.scan.vision.embedded import EmbeddedVision
from eco2.scan.vision.llm import LlmProvider, Prompts
from eco2.scan.vision.providers import Embedded, Provider


@dataclass(frozen=True)
class Resources(Services):
    settings: WorkerSettings
    models: Models
    consumer: Heartbeat
    llm: Llm | None
    teller: Teller
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is to end: stages in work finish, and none begins."""

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "object-store": self.storage.ping,
            "consumer": self.consumer.check_ready,
        }


@asynccontextmanager
async def open_resources(settings: WorkerSettings) -> AsyncIterator[Resources]:
    data_dir = settings.data_dir or knowledge.default_directory()
    base = knowledge.load(data_dir)
    publisher = Publisher(settings.broker_url)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        streams = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
        cache = await stack.enter_async_context(connect_shared(settings.redis_cache_url, decode_responses=False))
        stack.push_async_callback(publisher.close)
        executor = ThreadPoolExecutor(settings.vision_threads, thread_name_prefix="vision")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)  # the loop must not wait for a photo
        decoders = await stack.enter_async_context(Decoders(settings))
        await decoders.warm()
        llm = Llm(settings, cache, Controls(db)) if settings.endpoints() else None
        if llm is not None:
            stack.push_async_callback(llm.aclose)
        resources = Resources(
            db=db,
            storage=Storage(settings),
            bus=EventBus(streams, Service.SCAN),
            publisher=publisher,
            knowledge=base,
            upload_secret=settings.upload_secret,
            settings=settings,
            models=Models(
                embedded=Embedded(_vision_model(settings, base, data_dir), executor, base.version),
                paid=_paid_models(settings, base, llm),
                cache=ResultCache(cache),
                decoders=decoders,
                cascade=_cascade(settings),
            ),
            consumer=Heartbeat(),
            llm=llm,
            teller=Teller(streams, f"{socket.gethostname()}:{os.getpid()}", settings, llm),
        )
        stack.push_async_callback(resources.announced_marks.close, db)
        stack.callback(asyncio.create_task(resources.in_work.run(db)).cancel)
        yield resources


def _vision_model(settings: WorkerSettings, base: Knowledge, data_dir: Path) -> EmbeddedVision:
    try:
        senses = Senses.load(data_dir / "vision", base)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    vision = EmbeddedVision(settings.model_dir, senses)
    looks_first = not settings.endpoints() or settings.cascade != "off"
    if looks_first:  # else it looks only where a paid model fails
        vision.warm()
    return vision


def _cascade(settings: WorkerSettings) -> Cascade | None:
    if settings.cascade == "off":
        return None
    return Cascade(settings.cascade_confidence, settings.cascade_model if settings.cascade == "downgrade" else None)


def _paid_models(settings: WorkerSettings, base: Knowledge, llm: Llm | None) -> Callable[[str | None], Provider | None]:
    """Model name → its provider, made when it is first asked for; None for models that no configured key serves."""
    if llm is None:
        return lambda _model: None
    prompts = Prompts.of(base)
    made: dict[str, Provider] = {}

    def provider(model: str | None) -> Provider | None:
        name = model or settings.llm_default_model
        if name not in made and llm.serves(name):
            made[name] = LlmProvider(llm, name, prompts)
        return made.get(name)

    return provider
