"""recycling-api: the knowledge base as an API, the collection days of districts, and reminders of them.

The knowledge base is loaded at start. The rest is in PostgreSQL; while that is away the knowledge base answers."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from prometheus_client import Gauge

from eco2 import knowledge
from eco2.core import gauges, grpc, imports, redis, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import Database, open_database
from eco2.core.settings import load
from eco2.core.turns import PerMinute
from eco2.knowledge import holidays
from eco2.knowledge.districts import Districts
from eco2.llm import spending
from eco2.llm.calls import Llm
from eco2.llm.control import Controls
from eco2.recycling import calendar_api, reminder_api, reminder_store, reminders, rpc, steward_api, store
from eco2.recycling.api import router
from eco2.recycling.service import Paid, Services
from eco2.recycling.settings import ApiSettings

NAME = "recycling-api"
log = logging.getLogger(__name__)

REMINDERS = Gauge(
    "eco2_reminders",
    "Browsers with a reminder; told of the newest day; refused by their push service last; sent nothing any more",
    ["state"],
)


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        async with AsyncExitStack() as stack:
            questions = PerMinute(settings.questions_per_minute)
            db = await stack.enter_async_context(open_database(settings, repeat=True))
            paid = _paid(settings, stack, db)
            llm = paid.llm if paid else None
            log.info("%s", await spending.described(settings, llm, "answers are composed from the rules"))
            districts = Districts.load(settings.data_dir)
            book = holidays.load(settings.data_dir)
            services = Services(
                knowledge=knowledge.load(settings.data_dir),
                districts=districts,
                holidays=book,
                db=db,
                paid=paid,
                questions=questions,
                offer=reminders.Offer(settings.push_public_key, reminders.hosts(settings.data_dir)),
                changes=PerMinute(settings.reminder_changes_per_minute),
            )
            await stack.enter_async_context(gauges.telling(partial(_tell_reminders, db)))
            await stack.enter_async_context(gauges.telling(partial(_tell_imports, db)))
            answering = await stack.enter_async_context(grpc.serving(settings, rpc.registers(db)))
            yield Resources(services, {"grpc": answering})

    return create_app(NAME, settings, resources, steward_api.router, router, calendar_api.router, reminder_api.router)


async def _tell_reminders(db: Database) -> None:
    for state, number in (await reminder_store.counts(db)).items():
        REMINDERS.labels(state).set(number)


async def _tell_imports(db: Database) -> None:
    imports.tell("collection_days", await store.imports(db))


def _paid(settings: ApiSettings, stack: AsyncExitStack, db: Database) -> Paid | None:
    if not settings.endpoints() or settings.redis_cache_url is None:
        return None
    cache = redis.connect(settings.redis_cache_url)
    stack.push_async_callback(cache.aclose)
    llm = Llm(settings, cache, Controls(db))
    stack.push_async_callback(llm.aclose)
    return Paid(llm, settings.llm_default_model)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
