"""Pictures of the page on a phone, of the running stack: `python -m tools.screenshots` writes docs/screenshots.

Every page in both languages, and some in the dark.
"""

import argparse
import asyncio
import io
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Geolocation, Page, ViewportSize, async_playwright

from eco2.cli.scan import mint
from eco2.local import config, state

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/screenshots"
PHOTO = ROOT / "data/demo/coffee.jpg"
PHONE = ViewportSize(width=390, height=844)
SHARPER = 1.5
HERE = Geolocation(latitude=37.5563, longitude=126.9010)
"""In Mapo-gu, where the sample has places."""
DISTRICT = {"eco2.district": '"서울특별시 마포구"'}
LANGS = {"ko": "ko-KR", "en": "en-US"}
QUESTION = {"ko": "다 쓴 보조 배터리는 어디에 버려요?", "en": "Where does a used power bank go?"}
Step = Callable[[Page, str], Awaitable[None]]


async def scan(page: Page, _: str) -> None:
    await page.goto("/")


async def guide(page: Page, _: str) -> None:
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.locator(".steps input").first.wait_for(state="attached")
    await page.locator(".why h3").wait_for(state="attached")


async def guide_more(page: Page, lang: str) -> None:
    await guide(page, lang)
    await page.locator(".why summary").click()
    await page.evaluate("document.querySelector('.acts').scrollIntoView({block: 'start'})")


async def rules(page: Page, lang: str) -> None:
    await page.goto("/en/rules" if lang == "en" else "/rules")
    await page.locator("#q").fill("bottle" if lang == "en" else "우유")
    await page.locator(".rows li").first.wait_for()


async def rule(page: Page, lang: str) -> None:
    await page.goto(f"{'/en' if lang == 'en' else ''}/rules/milk_carton")
    await page.locator(".where .day").first.wait_for()


async def rule_more(page: Page, lang: str) -> None:
    await rule(page, lang)
    await page.evaluate("document.querySelector('.where').scrollIntoView({block: 'end'})")


async def battery(page: Page, lang: str) -> None:
    await page.goto(f"{'/en' if lang == 'en' else ''}/rules/alkaline")
    await page.locator(".where .place").first.wait_for()
    await page.evaluate("document.querySelector('.where').scrollIntoView({block: 'start'})")


async def ask(page: Page, lang: str) -> None:
    await page.goto("/ask")
    await page.locator("#question").fill(QUESTION[lang])
    await page.keyboard.press("Enter")
    await page.locator(".talk li.eco p").first.wait_for()


async def places(page: Page, lang: str) -> None:
    await page.goto("/map")
    await page.locator(".cluster, .pin").first.wait_for()
    await page.get_by_role("button", name="Search around me" if lang == "en" else "내 위치에서 찾기").click()
    await page.locator(".pin").first.wait_for()


async def calendar(page: Page, _: str) -> None:
    await page.goto("/calendar")
    await page.locator(".days").first.wait_for()


def still(path: str, shows: str) -> Step:
    async def step(page: Page, _: str) -> None:
        await page.goto(path)
        await page.locator(shows).first.wait_for()

    return step


SHOTS: dict[str, Step] = {
    "scan": scan,
    "guide": guide,
    "guide-more": guide_more,
    "rules": rules,
    "rule": rule,
    "rule-more": rule_more,
    "rule-near": battery,
    "ask": ask,
    "map": places,
    "calendar": calendar,
    "news": still("/news", ".articles li"),
    "me": still("/me", ".signin"),
    "about": still("/about", "#places"),
}
SIGNED_IN: dict[str, Step] = {
    "account": still("/me", ".points"),
    "steward": still("/steward", "h2"),
}
DARK = ("scan", "guide", "map")


@asynccontextmanager
async def phone(browser: Browser, base: str, locale: str, dark: bool, token: str | None) -> AsyncIterator[Page]:
    context = await browser.new_context(
        base_url=base,
        viewport=PHONE,
        device_scale_factor=SHARPER,
        locale=locale,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        service_workers="block",
        has_touch=True,
        is_mobile=True,
        geolocation=HERE,
        permissions=["geolocation"],
        extra_http_headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    kept = DISTRICT | ({"eco2.role": '"citizen"'} if token else {})
    for name, value in kept.items():
        await context.add_init_script(f"localStorage.setItem({name!r}, {value!r})")
    yield await context.new_page()
    await context.close()


async def take(page: Page, name: str, preview: Path | None) -> None:
    await page.locator(".loading").first.wait_for(state="detached")
    await page.wait_for_load_state("networkidle")
    if preview:
        await page.screenshot(path=preview / f"{name}.png")
    picture = Image.open(io.BytesIO(await page.screenshot(type="png"))).convert("RGB")
    picture.save(FOLDER / f"{name}.jpg", quality=74, optimize=True, progressive=True)


async def main(only: str, preview: Path | None) -> None:
    found = subprocess.run([ROOT / "scripts/chromium"], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    base = state.as_running(config.layout(make=False)).public_url
    token = await asyncio.to_thread(mint, "demo", "steward")
    wanted = [
        (f"{lang}-{name}{'-dark' if dark else ''}", lang, dark, name in SIGNED_IN, step)
        for lang in LANGS
        for name, step in (SHOTS | SIGNED_IN).items()
        for dark in ([False, True] if lang == "ko" and name in DARK else [False])
    ]
    FOLDER.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        for name, lang, dark, signed_in, step in wanted:
            if only not in name:
                continue
            async with phone(browser, base, LANGS[lang], dark, token if signed_in else None) as page:
                await step(page, lang)
                await take(page, name, preview)
            print(name)
        await browser.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tools.screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="take those whose name has this")
    parser.add_argument("--png", type=Path, help="folder to write them to as PNG, too")
    return parser.parse_args()


if __name__ == "__main__":
    asked = arguments()
    asyncio.run(main(asked.only, asked.png))
