"""The public client as far as the platform can tell: its requests, the fields it reads, its reactions.

It refreshes on every 401 on its own, so several requests at once refresh several times; it signs out on any 403; after
the `done` of a scan it reads the result once, and shows its error page where that has no answer.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.browser import Browser

Json = dict[str, Any]

RECYCLABLE = "재활용폐기물"
GENERAL_BAG = "일반 종량제 봉투에 배출해주세요"
STAGES = ("queued", "vision", "rule", "answer", "reward", "done")
MOST_REPEATS = 3
"""The client has no cap; a test that needs more than this has found a loop."""
LOGIN, HOME, ERROR_PAGE, RESULT_PAGE = "/#/login", "/#/home", "/camera/error", "/camera/result"


class Loop(AssertionError):
    """The client would repeat a request without end."""


@dataclass
class Page:
    """Result as the client shows it at the end of a scan."""

    route: str
    text: list[str] = field(default_factory=list)
    celebrates: bool = False
    reason: str = ""
    bar: list[int] = field(default_factory=list)


@dataclass
class PublicClient:
    browser: Browser
    route: str = HOME
    refreshes: int = 0
    logouts: int = 0

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """As its HTTP wrapper: 401 refreshes and repeats, 403 signs out."""
        for _ in range(MOST_REPEATS):
            answer = await self.browser.request(method, path, **options)
            if answer.status_code == 403:
                await self.log_out()
                return answer
            if answer.status_code != 401:
                return answer
            self.refreshes += 1
            if (await self.browser.refresh()).status_code != 201:
                self.route = LOGIN
                return answer
        raise Loop(path)

    async def start(self) -> None:
        """The splash screen: signed in or not is told by `username`."""
        answer = await self.call("GET", "/api/v1/users/me")
        self.route = HOME if answer.status_code == 200 and answer.json().get("username") else LOGIN

    async def log_out(self) -> None:
        self.logouts += 1
        answer = await self.browser.logout()
        assert answer.status_code == 200, "a refusal here makes the client loop"
        assert answer.json()["success"] is True
        self.route = LOGIN

    async def upload(self, data: bytes, content_type: str = "image/jpeg") -> str:
        body = {"filename": "photo.jpg", "content_type": content_type}
        ticket = (await self.call("POST", "/api/v1/images/scan", json=body)).json()
        headers = {"Content-Type": content_type, "Origin": self.browser.origin}
        async with httpx2.AsyncClient() as store:  # cross-origin, without credentials
            put = await store.put(ticket["upload_url"], content=data, headers=headers)
        assert put.status_code == 200, put.text
        return str(ticket["cdn_url"])

    async def scan(self, data: bytes, user_input: str = "") -> Page:
        """From the photo to the page that the client ends on."""
        return await self.follow(await self.upload(data), user_input)

    async def follow(self, image_url: str, user_input: str = "") -> Page:
        body = {"image_url": image_url, **({"user_input": user_input} if user_input else {})}
        answer = await self.call("POST", "/api/v1/scan", json=body)
        if not answer.is_success:
            return Page(ERROR_PAGE)
        job = answer.json()
        job_id = job["result_url"].split("/")[-2]
        assert job["result_url"].endswith(f"/{job_id}/result")
        bar: list[int] = []
        try:
            async with asyncio.timeout(60):
                done = await self._watch(job["stream_url"], bar)
        except TimeoutError:
            done = False
        if not done:  # it would poll every two seconds, and show no reason
            return Page("polling", bar=bar)
        result = await self.call("GET", job["result_url"])
        page = self._page(result)
        page.bar = bar
        return page

    async def _watch(self, stream_url: str, bar: list[int]) -> bool:
        """True when `done` came as `completed`; an event `error`, or a failed one, ends the stream for the client."""
        headers = {"Accept": "text/event-stream", "Origin": self.browser.origin, **self.browser.header(stream_url)}
        async with self.browser.client.stream("GET", stream_url, headers=headers) as source:
            assert source.status_code == 200
            name = ""
            async for line in source.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name != "keepalive":
                    frame = json.loads(line.removeprefix("data: "))
                    if name == "error" or frame["status"] == "failed":
                        return False
                    assert name in STAGES
                    assert type(frame["progress"]) is int
                    if frame["status"] == "completed":
                        bar.append(frame["progress"])
                        if name == "done":
                            return True
        return False

    def _page(self, answer: httpx2.Response) -> Page:
        body = answer.json()
        if answer.status_code != 200 or body["status"] != "completed" or not body["pipeline_result"]:
            return Page(ERROR_PAGE, reason=body.get("error") or "")
        shown = body["pipeline_result"]
        kinds = shown["classification_result"]["classification"]
        final = shown["final_answer"]
        steps = [step for step in final["disposal_steps"].values() if step]
        text = [f"{kinds['middle_category']} {kinds['minor_category']}", *steps]
        if kinds["major_category"] != RECYCLABLE:
            text.insert(1, GENERAL_BAG)
        elif body["reward"] is None:
            text += final["insufficiencies"]
        return Page(RESULT_PAGE, text, celebrates=body["reward"] is not None)

    async def characters(self) -> list[str]:
        return [row["name"] for row in (await self.call("GET", "/api/v1/users/me/characters")).json()]

    async def news(self, screens: int, **query: str) -> list[dict[str, Any]]:
        """The news screen, scrolled so far: it asks for the next page with the cursor of the last."""
        shown: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        for _ in range(screens):
            answer = await self.call("GET", "/api/v1/info/news", params={"limit": "3", **query, **cursor})
            page = answer.raise_for_status().json()
            shown += page["articles"]
            if not page["has_more"]:
                break
            cursor = {"cursor": page["next_cursor"]}
        return shown

    async def map(self, lat: float, lon: float, kakao_level: int, sources: tuple[str, ...]) -> list[Json]:
        """The markers of the map: the sources that its toggle shows, with a chip for each kind of thing."""
        query: Json = {"lat": lat, "lon": lon, "zoom": 16 - kakao_level}
        rows = (await self.call("GET", "/api/v1/locations/centers", params=query)).raise_for_status().json()
        markers = [row for row in rows if row["source"] in sources and row["latitude"] and row["longitude"]]
        return [{**marker, "chips": [name.upper() for name in marker["pickup_categories"]]} for marker in markers]

    async def place(self, number: int) -> Json:
        """The sheet that a marker opens; its list of things must be one, or the client ends."""
        found: Json = (await self.call("GET", f"/api/v1/locations/centers/{number}")).raise_for_status().json()
        return {**found, "chips": [name.upper() for name in found["pickup_categories"]]}

    async def search_places(self, words: str) -> list[Json]:
        """While somebody types suggestions are shown; the search itself says no coordinates."""
        for end in range(1, len(words) + 1):
            typed = {"q": words[:end]}
            suggested = (await self.call("GET", "/api/v1/locations/suggest", params=typed)).raise_for_status().json()
            assert all(row["place_name"] for row in suggested)
        answer = await self.call("GET", "/api/v1/locations/search", params={"q": words})
        rows: list[Json] = answer.raise_for_status().json()
        return [{**row, "chips": [name.upper() for name in row["pickup_categories"]]} for row in rows]
