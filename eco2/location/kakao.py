"""Kakao Local: places by keyword, behind a time-out, a second attempt, a breaker, a daily quota and a cache.

Its answers are read by type and up to ANSWER_MAX bytes. The id of a place is the negative of Kakao's number.
"""

import asyncio
import hashlib
import logging
import random
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import httpx2
import orjson
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.identity import GUEST, is_guest
from eco2.core.breaker import LONG_PAUSE, PAUSE, Breaker
from eco2.core.errors import Unavailable
from eco2.location import store
from eco2.location.opening import KOREA
from eco2.location.settings import KakaoSettings

log = logging.getLogger(__name__)

PATH = "/v2/local/search/keyword.json"
ANSWER_MAX = 1 << 18
SIZE = 15
"""Places of one answer; the most that Kakao gives at once."""
RADIUS_MAX = 20_000
QUERY_MAX = 100
DAY_SECONDS = 2 * 24 * 3600
PLACE_SECONDS = 24 * 3600
"""Time in which a place that was shown can be asked for by its id."""

CALLS = Counter("eco2_kakao_local_calls_total", "Calls of Kakao Local by their outcome", ["outcome"])


class KakaoUnavailable(Unavailable):
    """카카오 장소 검색이 지금 되지 않아요. 잠시 뒤에 다시 찾아 주세요."""

    code = "KAKAO_API_UNAVAILABLE"


class KakaoShareUsed(KakaoUnavailable):
    """The user has had the part of the day's calls that one may have."""


class KakaoLate(KakaoUnavailable):
    """It may answer yet: the same question is worth asking again in the background."""


@dataclass(frozen=True)
class KakaoPlace:
    """`id` is negative."""

    id: int
    name: str
    category: str
    road_address: str | None
    lot_address: str | None
    latitude: float
    longitude: float
    phone: str | None
    place_url: str | None


@dataclass(frozen=True)
class Query:
    """`radius` is clamped to what Kakao takes."""

    text: str
    lat: float | None = None
    lon: float | None = None
    radius: float | None = None

    def parameters(self) -> dict[str, str]:
        found = {"query": " ".join(self.text.split())[:QUERY_MAX], "size": str(SIZE)}
        if self.lat is not None and self.lon is not None:
            found |= {"x": f"{self.lon:.6f}", "y": f"{self.lat:.6f}"}
            if self.radius is not None:
                found["radius"] = str(int(min(max(self.radius, 0), RADIUS_MAX)))
        return found

    def digest(self) -> str:
        """Questions from places some 100 m apart share an answer."""
        near = {key: f"{float(value):.3f}" if key in ("x", "y") else value for key, value in self.parameters().items()}
        return hashlib.sha256(orjson.dumps(near, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


class Kakao:
    """One client for a process."""

    def __init__(self, settings: KakaoSettings, cache: Redis, breaker: Breaker | None = None) -> None:
        self._settings = settings
        self._cache = cache
        self._breaker = breaker or Breaker()
        self._asked: dict[str, asyncio.Task[list[KakaoPlace]]] = {}
        self._http: httpx2.AsyncClient | None = None

    @property
    def is_configured(self) -> bool:
        return self._settings.kakao_rest_api_key is not None

    async def aclose(self) -> None:
        for task in list(self._asked.values()):
            task.cancel()
        if self._http is not None:
            await self._http.aclose()

    async def search(self, query: Query, user: UUID | None = None) -> list[KakaoPlace]:
        """KakaoUnavailable, also without a key; KakaoShareUsed for a user who had new questions enough today; KakaoLate
        where only time was lacking. The same question of many is asked once."""
        if not self.is_configured:
            raise KakaoUnavailable
        digest = query.digest()
        known = await self._known(digest)
        if known is not None:
            return known
        if user and digest not in self._asked:
            await self._count_share(user)
        task = self._asked.get(digest)
        if task is None:
            task = self._asked[digest] = asyncio.create_task(self._ask(query, digest))
            task.add_done_callback(lambda done: self._done(digest, done))
        return await asyncio.shield(task)

    async def _count_share(self, user: UUID) -> None:
        spent = await self._count(store.kakao_calls(_today(), user)) > self._settings.kakao_daily_quota_of_user
        if not spent and is_guest(user):
            together = await self._count(store.kakao_calls(_today(), GUEST))
            spent = together > self._settings.kakao_daily_quota_of_guests
        if spent:
            CALLS.labels("quota_of_user").inc()
            raise KakaoShareUsed

    def _done(self, digest: str, task: "asyncio.Task[list[KakaoPlace]]") -> None:
        self._asked.pop(digest, None)
        if not task.cancelled():
            task.exception()  # looked at, also when all who asked have gone

    async def place(self, number: int) -> KakaoPlace | None:
        """A place that an answer showed within the last day."""
        with suppress(RedisError, OSError, ValueError, TypeError):
            found = await self._cache.get(store.kakao_place(number))
            if found:
                return KakaoPlace(**orjson.loads(found))
        return None

    async def _known(self, digest: str) -> list[KakaoPlace] | None:
        with suppress(RedisError, OSError, ValueError, TypeError):
            found = await self._cache.get(store.kakao_answer(digest))
            if found:
                CALLS.labels("cached").inc()
                return [KakaoPlace(**row) for row in orjson.loads(found)]
        return None

    async def _ask(self, query: Query, digest: str) -> list[KakaoPlace]:
        if self._breaker.is_open():
            CALLS.labels("breaker").inc()
            raise KakaoUnavailable
        late = False
        for attempt in (1, 2):
            if await self._count(store.kakao_calls(_today())) > self._settings.kakao_daily_quota:
                CALLS.labels("quota").inc()
                raise KakaoUnavailable
            try:
                async with asyncio.timeout(self._settings.kakao_local_timeout.total_seconds()):
                    found = await self._call(query)
            except (httpx2.HTTPError, TimeoutError) as error:
                late = isinstance(error, TimeoutError | httpx2.TimeoutException)
                CALLS.labels("late" if late else "away").inc()
                log.warning("Kakao Local is away: %r", error)
                self._breaker.failure()
            else:
                CALLS.labels("answered").inc()
                self._breaker.success()
                await self._remember(digest, found)
                return found
            if attempt == 1 and not late and not self._breaker.is_open():
                await asyncio.sleep(random.uniform(0.05, 0.2))  # noqa: S311
            else:
                break
        raise KakaoLate if late else KakaoUnavailable

    async def _call(self, query: Query) -> list[KakaoPlace]:
        """HTTPError: worth another attempt. KakaoUnavailable: not now."""
        if self._http is None:
            self._http = httpx2.AsyncClient(
                base_url=self._settings.kakao_local_url,
                headers={
                    "Authorization": f"KakaoAK {self._settings.kakao_rest_api_key}",
                    "Accept-Encoding": "identity",
                },
                timeout=self._settings.kakao_local_timeout.total_seconds(),
                limits=httpx2.Limits(max_connections=10),
                trust_env=False,
                follow_redirects=False,
            )
        async with self._http.stream("GET", PATH, params=query.parameters()) as response:
            if response.status_code in (401, 403, 429):
                self._refused(response)
            if response.status_code != 200:
                raise httpx2.ReadError(f"status {response.status_code}")
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > ANSWER_MAX:
                    raise httpx2.ReadError(f"an answer of more than {ANSWER_MAX} bytes")
        try:
            return _read(orjson.loads(body))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise httpx2.ReadError(f"an answer of another form: {error!r}") from error

    def _refused(self, response: httpx2.Response) -> None:
        if response.status_code == 429:
            after = response.headers.get("retry-after", "")
            self._breaker.failure(min(LONG_PAUSE, float(after)) if after.isdecimal() else PAUSE)
            CALLS.labels("limited").inc()
        else:
            self._breaker.failure(LONG_PAUSE)
            CALLS.labels("refused").inc()
            log.error("Kakao refuses ECO2_KAKAO_REST_API_KEY with %d", response.status_code)
        raise KakaoUnavailable

    async def _count(self, key: str) -> int:
        """One call more, for all processes; without Redis it is not counted, and Kakao's own limit is met."""
        try:
            async with self._cache.pipeline(transaction=True) as both:
                both.incr(key)
                both.expire(key, DAY_SECONDS)
                used, _ = await both.execute()
        except (RedisError, OSError):
            return 0
        return int(used)

    async def _remember(self, digest: str, found: list[KakaoPlace]) -> None:
        with suppress(RedisError, OSError):
            async with self._cache.pipeline(transaction=False) as every:
                seconds = int(self._settings.kakao_cache.total_seconds())
                every.set(store.kakao_answer(digest), orjson.dumps([asdict(one) for one in found]), ex=seconds)
                for one in found:
                    every.set(store.kakao_place(one.id), orjson.dumps(asdict(one)), ex=PLACE_SECONDS)
                await every.execute()


def _today() -> date:
    return datetime.now(KOREA).date()


def _read(body: Any) -> list[KakaoPlace]:
    """Documents of another form are left out; an answer that is none at all is an error."""
    documents = body["documents"]
    if not isinstance(documents, list):
        raise TypeError("documents is no list")
    return [place for document in documents if (place := _place(document)) is not None]


def _place(document: Any) -> KakaoPlace | None:
    try:
        number, x, y = int(document["id"]), float(document["x"]), float(document["y"])
        name = _text(document, "place_name", 200)
    except (ValueError, LookupError, TypeError):
        return None
    if not (0 < number < 2**53 and 33 <= y <= 39 and 124 <= x <= 132 and name):
        return None
    url = _text(document, "place_url", 500) or ""
    return KakaoPlace(
        id=-number,
        name=name,
        category=_text(document, "category_name", 200) or "",
        road_address=_text(document, "road_address_name", 300),
        lot_address=_text(document, "address_name", 300),
        latitude=y,
        longitude=x,
        phone=_text(document, "phone", 40),
        place_url=re.sub(r"^http:", "https:", url) if re.match(r"https?://place\.map\.kakao\.com/", url) else None,
    )


def _text(document: Mapping[str, Any], name: str, longest: int) -> str | None:
    found = document.get(name)
    if not isinstance(found, str):
        return None
    return re.sub(r"[\x00-\x1f\ud800-\udfff]", " ", found).strip()[:longest] or None
