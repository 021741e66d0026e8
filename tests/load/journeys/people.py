"""Users as the app and the page make them: an act, some time to think, the next act."""

import asyncio
import itertools
import random
import re
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.load.client import Client, retry_after
from tests.load.journeys.seen import CHAT, MAP, PAGE, SCAN, Act, Stage
from tests.load.photos import photo
from tests.load.target import User

PATIENCE = 90.0
"""Seconds for which a user waits for one act, refusals included."""
REFUSALS = (429, 503)
"""Answers after which a client waits and tries again."""
AGAIN = 0.5
"""Seconds until a stream that ended too early is opened again."""
WORDS = ("우유팩", "페트병 라벨 붙어 있어요", "깨진 유리컵", "캔", "치킨 상자", "건전지", "형광등", "이건요?")
QUESTIONS = ("캔은 어떻게 버려요?", "그럼 뚜껑은?", "건전지는 어디에 버려요?", "안녕", "깨진 컵은?")
THINGS = ("우유", "페트", "형광", "건전지", "치킨", "스티로폼", "유리", "이불")
DISTRICT = "서울특별시 마포구"
SEOUL = (37.42, 37.69, 126.78, 127.18)
"""South, north, west and east of what users look at on the map."""
ASSET = re.compile(rb'(?:src|href)="(/[^"/][^"]*)"')


class Failed(Exception):
    """An act that came to no good end, and why."""


@dataclass
class Tries:
    refusals: int = 0
    rude: int = 0
    job: str | None = None


@dataclass
class Crowd:
    """`popular` photos have been scanned before; `seeds` give photos that nobody has scanned."""

    client: Client
    users: Sequence[User]
    stage: Stage
    chance: random.Random
    seeds: "itertools.count[int]"
    popular: Sequence[bytes] = ()
    acts: list[Act] = field(default_factory=list)
    _start: float = 0.0

    async def run(self) -> None:
        """For the stage's seconds, each user somewhere else in the cycle of acting and thinking; then until what has
        been begun is over."""
        self._start = time.perf_counter()
        cycle = self.stage.think + self.stage.model.vision + self.stage.model.answer
        order = self.chance.sample(self.users, len(self.users))
        async with asyncio.TaskGroup() as people:
            for number, user in enumerate(order):
                first = (number + self.chance.random()) / len(order) * cycle
                people.create_task(Person(self, user, random.Random(self.chance.random())).live(first))

    @property
    def clock(self) -> float:
        return time.perf_counter() - self._start


@dataclass
class Person:
    crowd: Crowd
    user: User
    chance: random.Random
    _chat: str | None = None

    async def live(self, first: float) -> None:
        stage = self.crowd.stage
        doing: dict[str, Callable[[Tries], Coroutine[Any, Any, float]]] = {
            SCAN: self._scan,
            CHAT: self._talk,
            MAP: self._look_at_map,
            PAGE: self._read,
        }
        kinds, weights = list(stage.shares), list(stage.shares.values())
        pause = first
        while self.crowd.clock + pause < stage.seconds:
            await asyncio.sleep(pause)
            kind = self.chance.choices(kinds, weights)[0]
            popular = kind == SCAN and self.chance.random() < stage.repeated
            began, tries, seconds, fault = self.crowd.clock, Tries(), None, ""
            try:
                async with asyncio.timeout(PATIENCE):
                    seconds = await (self._scan(tries, popular=True) if popular else doing[kind](tries))
            except (Failed, aiohttp.ClientError) as error:
                fault = str(error) or repr(error)
            except TimeoutError:
                fault = f"nothing for {PATIENCE:.0f} s"
            self.crowd.acts.append(
                Act(kind, began, seconds, fault, tries.job, tries.refusals, tries.rude, popular=popular)
            )
            pause = self.chance.uniform(0.5, 1.5) * stage.think

    async def _ask(self, tries: Tries, method: str, path: str, body: Any = None, **more: Any) -> tuple[bytes, float]:
        """Body of the answer, and when the request that got it was sent. Waits and tries again where it is refused."""
        headers = {**self.user.headers, **more.pop("headers", {})}
        while True:
            sent = time.perf_counter()
            url, session = self.crowd.client.url + path, self.crowd.client.session
            async with session.request(method, url, json=body, headers=headers, **more) as answer:
                content = await answer.read()
            if answer.status < 400:
                return content, sent
            if answer.status not in REFUSALS:
                raise Failed(f"{method} {path.partition('?')[0]}: {answer.status}")
            await self._refused(tries, answer.headers)

    async def _refused(self, tries: Tries, headers: Mapping[str, str]) -> None:
        """Wait as told."""
        wait = retry_after(headers)
        tries.refusals += 1
        tries.rude += wait is None
        await asyncio.sleep((wait or 1.0) * self.chance.uniform(1.0, 1.2))

    async def _get(self, tries: Tries, path: str, **params: str) -> bytes:
        return (await self._ask(tries, "GET", path, params=params))[0]

    async def _job(self, tries: Tries, path: str, body: object) -> tuple[dict[str, Any], dict[str, Any], float]:
        """Answer to the submission, the last event of its job, and the seconds between them."""
        content, sent = await self._ask(tries, "POST", path, body, headers={"X-Idempotency-Key": str(uuid.uuid4())})
        job = orjson.loads(content)
        tries.job = str(job["job_id"])
        while True:
            try:
                last, ended = await self.crowd.client.follow(self.user, str(job["stream_url"]))
            except aiohttp.ClientResponseError as error:
                if error.status not in REFUSALS:
                    raise
                await self._refused(tries, error.headers or {})
                continue
            if last is not None:
                return job, last, ended - sent
            await asyncio.sleep(AGAIN)

    async def _upload(self, tries: Tries, image: bytes) -> str:
        body = {"filename": "photo.jpg", "content_type": "image/jpeg"}
        ticket = orjson.loads((await self._ask(tries, "POST", "/api/v1/images/scan", body))[0])
        headers = {"Content-Type": "image/jpeg"}
        async with self.crowd.client.session.put(ticket["upload_url"], data=image, headers=headers) as answer:
            if answer.status >= 400:
                raise Failed(f"upload: {answer.status}")
        return str(ticket["cdn_url"])

    async def _scan(self, tries: Tries, *, popular: bool = False) -> float:
        if popular:
            image, words = self.chance.choice(self.crowd.popular), None
        else:
            seed = next(self.crowd.seeds)
            image, words = photo(seed), f"{self.chance.choice(WORDS)} ({seed})"
        url = await self._upload(tries, image)
        job, last, seconds = await self._job(tries, "/api/v1/scan", {"image_url": url, "user_input": words})
        outcome = (last.get("result") or {}).get("outcome")
        if outcome not in ("answered", "unsure"):
            raise Failed(f"scan: {outcome or last.get('message')}")
        await self._get(tries, str(job["result_url"]))
        return seconds

    async def _talk(self, tries: Tries) -> float:
        if self._chat is None:
            begun, _ = await self._ask(tries, "POST", "/api/v1/chat")
            self._chat = str(orjson.loads(begun)["id"])
        words = f"{self.chance.choice(QUESTIONS)} ({self.chance.getrandbits(32)})"
        _, last, seconds = await self._job(tries, f"/api/v1/chat/{self._chat}/messages", {"message": words})
        if last.get("status") != "completed":
            raise Failed(f"chat: {last.get('status')} {last.get('message') or ''}")
        return seconds

    async def _look_at_map(self, tries: Tries) -> float:
        """The map as it opens, then nearer, then what takes one thing."""
        start = time.perf_counter()
        south, north, west, east = SEOUL
        lat, lon = self.chance.uniform(south, north), self.chance.uniform(west, east)
        box = f"{lon - 0.1:.5f},{lat - 0.05:.5f},{lon + 0.1:.5f},{lat + 0.05:.5f}"
        here = {"lat": f"{lat:.5f}", "lon": f"{lon:.5f}"}
        await self._get(tries, "/api/v1/locations/clusters", bbox=box, zoom="12", stream="all")
        await self._get(tries, "/api/v1/locations/centers", **here, radius="1000")
        await self._get(tries, "/api/v1/locations/nearest", **here, item="power_bank", limit="50")
        return time.perf_counter() - start

    async def _read(self, tries: Tries) -> float:
        """The page as a first visit loads it, a search, its item, the days of a district, and a question."""
        start = time.perf_counter()
        index = await self._get(tries, "/")
        for asset in {path.decode() for path in ASSET.findall(index)}:
            await self._get(tries, asset)
        await self._get(tries, "/api/v1/recycling/streams")
        found = await self._get(tries, "/api/v1/recycling/search", q=self.chance.choice(THINGS), limit="20")
        for item in orjson.loads(found)[:1]:
            await self._get(tries, f"/api/v1/recycling/items/{item['id']}")
        await self._get(tries, f"/api/v1/recycling/regions/{DISTRICT}/calendar", days="14")
        question = {"question": f"{self.chance.choice(WORDS)} 어떻게 버려요?"}
        await self._ask(tries, "POST", "/api/v1/recycling/ask", question)
        return time.perf_counter() - start
