"""The scheduled tasks of the domain, one for each kind of source; each runs in a process of its own (docs/adr/0017).

Answers of a source are parsed there, so a hostile one reaches no other process. A task without a source to ask
ends before it imports the clients.
"""

import asyncio
import random
from typing import Literal

from eco2.contracts.tasks import Outcome
from eco2.core.settings import load
from eco2.info.settings import CollectorSettings


async def naver(_argument: str) -> Outcome:
    """`news.naver`"""
    settings = load(CollectorSettings)
    configured = settings.naver_search_client_id and settings.naver_search_client_secret
    return await _round(settings, "naver") if configured else Outcome({"sources": 0})


async def newsdata(_argument: str) -> Outcome:
    """`news.newsdata`"""
    settings = load(CollectorSettings)
    return await _round(settings, "newsdata") if settings.newsdata_api_key else Outcome({"sources": 0})


async def feeds(_argument: str) -> Outcome:
    """`news.feeds`: every feed, one after the other; one that is away holds up nothing but itself."""
    settings = load(CollectorSettings)
    return await _round(settings, "feeds") if settings.news_feeds else Outcome({"sources": 0})


async def _round(settings: CollectorSettings, kind: Literal["naver", "newsdata", "feeds"]) -> Outcome:
    from eco2.core.postgres import open_database
    from eco2.info import collecting, store
    from eco2.info.categories import Categories

    categories = Categories.load(settings.data_dir)
    await asyncio.sleep(random.uniform(0, settings.news_jitter.total_seconds()))  # noqa: S311
    async with open_database(settings, repeat=True) as db, collecting.fetcher(settings) as http:
        sources = collecting.sources(settings, categories, kind)
        told = [await collecting.collect(db, http, settings, categories, source) for source in sources]
        forgotten = await store.forget_before(db, settings.news_retention)
    failed = {one.source: one.error for one in told if one.error}
    result = {"sources": len(told), "added": sum(one.added for one in told), "forgotten": forgotten}
    return Outcome({**result, **({"failed": failed} if failed else {})})
