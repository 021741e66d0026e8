"""Key screens look as in docs/screenshots: what is where, not how a machine draws its letters.

Pictures are compared in blocks of 30 pixels, in grey, and measured by the difference that the same screen without its
content makes.
A change that is meant is drawn anew by `python -m tools.screenshots`.
"""

import asyncio
import io

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.async_api import Browser

from eco2.local.stack import Stack
from tests.e2e.page import browser, chromium
from tools import screenshots

__all__ = ["browser", "chromium"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BLOCKS = (13, 28)
MOST = 0.5
"""Of the difference that a screen without content makes. Another font stays below 0.35; a heading that is missing,
so that all moves up, is above 0.55. A small part beside a photo drowns: tests of its page look for it."""
SCREENS = ["ko-scan", "ko-scan-dark", "en-scan", "ko-guide", "en-guide", "ko-rules", "ko-rule", "ko-me", "en-about"]


def apart(one: bytes, other: Image.Image) -> float:
    """Mean difference of the blocks' grey values, of 255."""
    first, second = (
        picture.convert("L").resize(BLOCKS, Image.Resampling.BOX) for picture in (Image.open(io.BytesIO(one)), other)
    )
    return ImageStat.Stat(ImageChops.difference(first, second)).mean[0]


@pytest.mark.parametrize("name", SCREENS)
async def test_a_key_screen_looks_as_in_its_picture(browser: Browser, stack: Stack, name: str) -> None:
    lang, screen = name.removesuffix("-dark").split("-")
    step, dark = screenshots.SHOTS[screen], name.endswith("-dark")
    with Image.open(screenshots.FOLDER / f"{name}.jpg") as kept:
        await asyncio.to_thread(kept.load)
        async with screenshots.phone(browser, stack.layout.public_url, screenshots.LANGS[lang], dark, None) as page:
            await step(page, lang)
            await page.locator(".loading").first.wait_for(state="detached")
            await page.wait_for_load_state("networkidle")
            found = apart(await page.screenshot(type="png"), kept)
            await page.evaluate("document.querySelector('main').style.visibility = 'hidden'")
            empty = apart(await page.screenshot(type="png"), kept)
    assert found <= MOST * empty, (
        f"{name} is {found:.1f} away from docs/screenshots/{name}.jpg, an empty one {empty:.1f}"
    )
