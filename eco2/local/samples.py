"""Samples for a fresh local stack: samples of this project, never in the place of real data.

`python -m eco2.local.samples` works on ECO2_DATABASE_URL; the stack runs it once the database is migrated.
"""

import asyncio
from datetime import UTC, datetime

from eco2.contracts.tasks import NEWS_FEEDS
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.info import service as info
from eco2.jobs import service as jobs
from eco2.knowledge import default_directory
from eco2.knowledge.districts import Districts
from eco2.location.importing import sample as places
from eco2.recycling import calendar

GUIDE = "https://wasteguide.or.kr"
NOTICE = "sample-notice"


async def load(db: Database) -> None:
    """May be repeated: rows that are there already stay untouched."""
    folder = default_directory() / "samples"
    await calendar.import_file(db, Districts.load(None), folder / "collection_days.csv", sample=True)
    text = "소식과 배출 요일은 시험해 보려고 지어낸 것이에요."
    made = info.notice("견본 공지: Eco²를 켰어요", text, GUIDE, None, None, datetime.now(UTC), number=NOTICE)
    if await info.add_notice(db, made):
        # The first round of the feeds is due at once, not at the next quarter of an hour.
        await jobs.order(db, NEWS_FEEDS.name, "")


async def main() -> None:
    settings = DatabaseSettings()
    async with open_database(settings, repeat=False) as db:
        await load(db)
    await places.load_into_empty(settings.database_url)


if __name__ == "__main__":
    asyncio.run(main())
