"""Users of the platform while it is being broken: each behaves as the app does and writes down what it saw.

A request that fails in passing is sent again with the same idempotency key, a stream that breaks is opened again with
the id of the last event; nobody gives up before `PATIENCE` seconds.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from tests import photos
from tests.chaos.evidence import Act, Evidence, Json, Request, RevokedUse, ScanSeen, TurnSeen
from tests.load.target import Target, User

PATIENCE = 180.0
PAUSE = 0.5
WORDS = ("우유팩", "페트병 라벨 붙어 있어요", "깨진 유리컵", "캔", "치킨 상자", "건전지", "형광등", "what about this?")
QUESTIONS = ("캔은 어떻게 버려요?", "그럼 뚜껑은?", "건전지는 어디에 버려요?", "안녕", "깨진 컵은?")
SCANS, CHATS, SESSIONS = 0.7, 0.25, 0.05
"""Shares of a user's acts."""


@dataclass
class Crowd:
    """`clock` gives the seconds of the run, `chance` decides what each user does."""

    target: Target
    clock: Callable[[], float]
    chance: random.Random
    think: float
    evidence: Evidence = field(default_factory=Evidence)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, users: int) -> None:
        """Run until `stop`; then users finish their current act, or give up at the end of their patience."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=users)
        http = httpx2.AsyncClient(base_url=self.target.url, timeout=30, limits=limits)
        async with http, asyncio.TaskGroup() as tasks:
            for user in self.target.users(users):
                person = Person(self, http, user, random.Random(self.chance.random()))
                tasks.create_task(person.live(self._stopping))

    def stop(self) -> None:
        self._stopping.set()


@dataclass
class Person:
    crowd: Crowd
    http: httpx2.AsyncClient
    user: User
    chance: random.Random
    _chat: str | None = None

    async def live(self, stopping: asyncio.Event) -> None:
        acts: list[Callable[[], Coroutine[Any, Any, None]]] = [self._scan, self._ask, self._leave]
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), self.chance.uniform(0, 2 * self.crowd.think))
            except TimeoutError:
                await self.chance.choices(acts, (SCANS, CHATS, SESSIONS))[0]()

    async def _request(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """The answer; None where there was none. Each is counted."""
        try:
            headers = {**self.user.headers, **more.pop("headers", {})}
            response = await self.http.request(method, path, headers=headers, **more)
        except httpx2.HTTPError:
            self.crowd.evidence.requests.append(Request(self.crowd.clock(), 0))
            return None
        self.crowd.evidence.requests.append(Request(self.crowd.clock(), response.status_code))
        return response

    async def _insist(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """Again while the platform does not answer, is away or busy; None when patience ends. It is one act."""
        began = self.crowd.clock()
        answer = await self._again(method, path, **more)
        self.crowd.evidence.acts.append(Act(began, None if answer is None else self.crowd.clock() - began))
        return answer

    async def _again(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            response = await self._request(method, path, **more)
            if response is not None and response.status_code < 500 and response.status_code not in (409, 429):
                return response
            wait = float(response.headers.get("Retry-After", PAUSE)) if response is not None else PAUSE
            await asyncio.sleep(min(wait, 10) * self.chance.uniform(0.8, 1.2))
        return None

    async def _upload(self) -> str | None:
        """The address of a photo that nobody has scanned; None when patience ends."""
        data = photos.encoded(photos.picture(320, 240, seed=self.chance.getrandbits(40)), "JPEG")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            body = {"filename": "photo.jpg", "content_type": "image/jpeg"}
            ticket = await self._insist("POST", "/api/v1/images/scan", json=body)
            if ticket is None or ticket.status_code >= 400:
                return None
            try:
                put = await self.http.put(
                    ticket.json()["upload_url"], content=data, headers={"Content-Type": "image/jpeg"}
                )
            except httpx2.HTTPError:
                put = None
            if put is not None and put.is_success:
                return str(ticket.json()["cdn_url"])
            await asyncio.sleep(PAUSE)
        return None

    async def _scan(self) -> None:
        url = await self._upload()
        if url is None:
            return
        seen = ScanSeen(self.user.id, self.crowd.clock())
        self.crowd.evidence.scans.append(seen)
        words, key = f"{self.chance.choice(WORDS)} {self.chance.getrandbits(32)}", str(uuid.uuid4())
        body = {"image_url": url, "user_input": words}
        answer = await self._insist("POST", "/api/v1/scan", json=body, headers={"X-Idempotency-Key": key})
        if answer is None or answer.status_code >= 400:
            return
        job = answer.json()
        seen.job = str(job["job_id"])
        await self._follow(str(job["stream_url"]), seen)
        for _ in range(2):
            result = await self._insist("GET", str(job["result_url"]))
            if result is not None and result.status_code == 200:
                seen.results.append(result.json())
            await asyncio.sleep(PAUSE)

    async def _ask(self) -> None:
        if self._chat is None:
            begun = await self._insist("POST", "/api/v1/chat")
            if begun is None or begun.status_code >= 400:
                return
            self._chat = str(begun.json()["id"])
        seen = TurnSeen(self.user.id, self._chat, self.crowd.clock())
        words = f"{self.chance.choice(QUESTIONS)} ({self.chance.getrandbits(32)})"
        sent = await self._insist(
            "POST",
            f"/api/v1/chat/{self._chat}/messages",
            json={"message": words},
            headers={"X-Idempotency-Key": str(uuid.uuid4())},
        )
        if sent is None or sent.status_code >= 400:
            return
        self.crowd.evidence.turns.append(seen)
        seen.job = str(sent.json()["job_id"])
        await self._follow(str(sent.json()["stream_url"]), seen)
        history = await self._insist("GET", f"/api/v1/chat/{self._chat}?limit=200")
        if history is not None and history.status_code == 200:
            seen.answers = _answers(history.json()["messages"], words)

    async def _follow(self, path: str, seen: ScanSeen | TurnSeen) -> None:
        """Read events to the end, over as many connections as it takes."""
        until, last = time.monotonic() + PATIENCE, ""
        while seen.ended is None and time.monotonic() < until:
            headers = {**self.user.headers, **({"Last-Event-ID": last} if last else {})}
            try:
                async with asyncio.timeout(30), self.http.sse(path, headers=headers) as source:
                    self.crowd.evidence.requests.append(Request(self.crowd.clock(), source.response.status_code))
                    if source.response.status_code == 200:
                        async for event in source:
                            if event.event in ("keepalive", "error"):
                                continue
                            frame: Json = orjson.loads(event.data)
                            last = event.id or last
                            seen.frames.append(frame)
                            if frame.get("stage") == "done":
                                seen.ended = self.crowd.clock()
            except (httpx2.HTTPError, TimeoutError, orjson.JSONDecodeError):
                pass
            if seen.ended is None:
                await asyncio.sleep(PAUSE)

    async def _leave(self) -> None:
        """End a session of one's own for good, and try it again for some time."""
        person = self.crowd.target.visitor()
        headers = person.headers
        first = await self._request("GET", "/api/v1/users/me/characters", headers=headers)
        left = await self._request("POST", "/api/v1/auth/logout/all", headers=headers)
        if first is None or first.status_code != 200 or left is None or left.status_code != 200:
            return
        ended = self.crowd.clock()
        for pause in (1, 5, 10, 20):
            await asyncio.sleep(pause)
            answer = await self._request("GET", "/api/v1/users/me/characters", headers=headers)
            self.crowd.evidence.revoked.append(
                RevokedUse(ended, self.crowd.clock(), answer.status_code if answer is not None else 0)
            )


def _answers(messages: list[Json], words: str) -> list[str]:
    """Answers between this message and the next one of the user."""
    found: list[str] = []
    here = False
    for message in messages:
        if message["role"] == "user":
            here = message["content"] == words
        elif here:
            found.append(str(message["content"]))
    return found
