"""Samples for a fresh local stack: samples of this project, never in the place of real data.

`python -m eco2.local.samples` works on ECO2_DATABASE_URL; the stack runs it once the database is migrated.
"""

import asyncio

from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.knowledge import default_directory
from eco2.knowledge.districts import Districts
from eco2.location.importing import sample as places
from eco2.recycling import calendar


async def load(db: Database) -> None:
    """May be repeated: rows that are there already stay untouched."""
    folder = default_directory() / "samples"
    await calendar.import_file(db, Districts.load(None), folder / "collection_days.csv", sample=True)


async def main() -> None:
    settings = DatabaseSettings()
    async with open_database(settings, repeat=False) as db:
        await load(db)
    await places.load_into_empty(settings.database_url)


if __name__ == "__main__":
    asyncio.run(main())
