"""From a photo to points: what a scan earns, and what the same photo earns again."""

import asyncio
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests import photos
from tests.conftest import PAID_MODEL, Person
from tests.e2e import journey
from tests.e2e.test_llm import emulator  # noqa: F401 - a fixture: sees a milk carton in every photo

People = Callable[[], Person]


def scene() -> bytes:
    """Patches of colour: never the same twice, and to the eye the same after scaling."""
    patches = np.random.default_rng().integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return photos.encoded(Image.fromarray(patches).resize((640, 480), Image.Resampling.BICUBIC), "JPEG")


def saved_again(data: bytes) -> bytes:
    """Photo as a messenger passes it on: smaller, encoded anew."""
    image = Image.open(io.BytesIO(data))
    return photos.encoded(image.resize((image.width * 3 // 4, image.height * 3 // 4)), "JPEG", quality=60)


async def reasons(who: Person, count: int) -> list[str]:
    """Of the ledger, newest first, once it has so many rows."""
    async with asyncio.timeout(10):
        while True:
            found = (await who.http.get("/api/v1/users/me/points")).raise_for_status().json()
            if len(found["history"]) >= count:
                return [entry["reason"] for entry in found["history"]]
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("again", [bytes, saved_again], ids=["same-bytes", "saved-again"])
async def test_a_photo_earns_points_once(person: People, again: Callable[[bytes], bytes]) -> None:
    anna, ben = person(), person()
    first, second = scene(), scene()
    for picture, count in ((first, 1), (again(first), 2), (second, 3)):
        assert (await journey.scan(anna, picture, model=PAID_MODEL))["reward"]["name"] == "팩토리"
        await reasons(anna, count)
    assert await reasons(anna, 3) == ["scan", "seen_before", "scan"]
    body = await journey.scan(ben, again(first), model=PAID_MODEL)
    assert body["reward"]["name"] == "팩토리"
    assert await reasons(ben, 1) == ["seen_today"]
    owned = (await ben.http.get("/api/v1/users/me/characters")).json()
    assert "팩토리" in [row["name"] for row in owned], "the result has promised the character"
