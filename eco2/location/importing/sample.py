"""The sample places of this project (data/places)."""

from functools import partial

from eco2.knowledge import default_directory
from eco2.location import import_store
from eco2.location.importing import loading

FORMATS = ("battery-boxes", "lamp-boxes", "medicine-boxes", "clothing-bins", "compensation")
WRITTEN = "2026-11-01"


async def load_into_empty(database_url: str) -> None:
    """Only where nothing was ever imported: not in the place of real data."""
    async with import_store.connect(database_url) as connection:
        if await import_store.has_feeds(connection):
            return
    await load(database_url)


async def load(database_url: str) -> int:
    """Number of places that they are."""
    folder = default_directory() / "places"
    ordered = partial(loading.order, licence="own", publisher="이코에코", data_date=WRITTEN)
    asked = [ordered(folder / f"{name}.csv", name, feed=f"sample-{name}") for name in FORMATS]
    shops = ordered(
        folder / "zerowaste.csv",
        "generic",
        feed="sample-zerowaste",
        title="제로웨이스트 가게 예시",
        map_file=folder / "zerowaste.map.yaml",
    )
    return sum([(await loading.load(database_url, one)).kept for one in (*asked, shops)])
