"""A browser on the page: Debian's Chromium on a phone's screen, and what goes wrong in it."""

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    async_playwright,
)

from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.local.stack import Stack

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "data/demo/coffee.jpg"
STATIC = ROOT / "eco2/web/static"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PHONE = ViewportSize(width=390, height=844)


def missing(why: str) -> None:
    """In CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def chromium() -> str:
    if not (STATIC / "manifest.json").exists() or not AXE.exists():
        missing("the page is not built: run `make web` (it needs Node and the npm registry)")
    found = subprocess.run([ROOT / "scripts/chromium"], capture_output=True, text=True, timeout=300)
    if found.returncode:
        missing(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture(scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
async def database(environment: dict[str, str]) -> AsyncIterator[Database]:
    """The stack's own: what nobody can bring about by clicks alone."""
    settings = DatabaseSettings(database_url=environment["ECO2_DATABASE_URL"])
    async with open_database(settings, repeat=True) as opened:
        yield opened


class Watched:
    """A page and everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    async def check(self) -> None:
        """Nothing went wrong, axe finds nothing, and no two controls are called the same but do different things."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations)"
        )
        broken = [f"{row['id']}: {[node['html'][:120] for node in row['nodes']]}" for row in found]
        assert broken == [], f"{self.page.url}: {broken}"
        called = confused(await self.page.locator("body").aria_snapshot())
        assert called == {}, f"{self.page.url}: {called}"
        assert self.wrong == [], f"{self.page.url}: {self.wrong}"


CONTROL = re.compile(
    r"""^\s*-\ '?(?P<role>button|link|textbox|searchbox|combobox|checkbox|radio|switch)\ "(?P<name>.+?)"(?P<more>[^\n]*)
    (?:\n\s*-\ /url:\ (?P<url>[^\n]+))?""",
    re.MULTILINE | re.VERBOSE,
)


def confused(tree: str) -> dict[str, list[str]]:
    """Role and name → controls of an accessibility tree that only their place tells apart. Links to one page may be
    called the same."""
    found = defaultdict(list)
    for one in CONTROL.finditer(tree):
        found[f"{one['role']} {one['name']}"].append(one["url"] or one["more"])
    return {
        called: does
        for called, does in found.items()
        if len(does) > 1 and not (called.startswith("link ") and len(set(does)) == 1)
    }


async def opened(
    browser: Browser, stack: Stack, locale: str = "ko-KR", **options: Any
) -> tuple[BrowserContext, Watched]:
    usual = {"viewport": PHONE, "locale": locale, "reduced_motion": "reduce", "service_workers": "block"}
    context = await browser.new_context(base_url=stack.layout.public_url, **{**usual, **options})
    context.set_default_timeout(30_000)
    return context, Watched(await context.new_page())
