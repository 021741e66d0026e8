"""Forecasts of the Korea Meteorological Administration, behind a time-out, a second attempt, a breaker, a daily quota
and a cache.

It forecasts squares of 5 km, three days ahead, every three hours: until then all requests for a square share an
answer. Answers are read by type and up to ANSWER_MAX bytes. Only the number of a square is sent.
"""

import asyncio
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import httpx2
import orjson
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.chat.settings import KmaSettings
from eco2.core.breaker import LONG_PAUSE, PAUSE, Breaker
from eco2.core.errors import Unavailable

log = logging.getLogger(__name__)

PATH = "/getVilageFcst"
ANSWER_MAX = 1 << 20
ROWS = 1000
KOREA = timezone(timedelta(hours=9))
ISSUED = (2, 5, 8, 11, 14, 17, 20, 23)
"""Hours of Korea at which forecasts are issued; they are there READY later."""
READY = timedelta(minutes=15)
DAY_SECONDS = 2 * 24 * 3600
NO_DATA, LIMITED = "03", "22"
REFUSED = frozenset({"20", "30", "31", "32"})
"""Codes of a key that is not known, has run out, or is not allowed to ask."""
_XML_CODE = re.compile(rb"<returnReasonCode>\s*(\d{1,3})\s*</returnReasonCode>")
FRESH, MISSING = timedelta(hours=3), timedelta(minutes=1)
"""Time for which an answer is known, and for which it is known that there is none yet."""

CALLS = Counter("eco2_kma_calls_total", "Calls of the weather service by their outcome", ["outcome"])


class ForecastUnavailable(Unavailable):
    """The weather cannot be told now."""

    code = "FORECAST_UNAVAILABLE"


class Square(NamedTuple):
    x: int
    y: int

    @property
    def forecast(self) -> bool:
        """False outside the map that is forecast."""
        return 1 <= self.x <= 149 and 1 <= self.y <= 253


@dataclass(frozen=True)
class Hour:
    """`at`: in Korea. `sky`: 1 clear, 3 cloudy, 4 overcast; `falls`: 0 nothing, 1 rain, 2 sleet, 3 snow, 4 showers."""

    at: str
    degrees: float | None = None
    sky: int | None = None
    falls: int | None = None
    chance: int | None = None


# Lambert's conformal conic projection with the constants of the KMA: 5 km a square, Seoul at (60, 127).
_EARTH, _STEP = 6371.00877, 5.0
_PARALLELS, _ORIGIN, _AT = (30.0, 60.0), (38.0, 126.0), (43, 136)


def square_of(latitude: float, longitude: float) -> Square:
    def steepness(degrees: float) -> float:
        return math.tan(math.pi / 4 + math.radians(degrees) / 2)

    first, second = (math.radians(one) for one in _PARALLELS)
    n = math.log(math.cos(first) / math.cos(second)) / math.log(steepness(_PARALLELS[1]) / steepness(_PARALLELS[0]))
    f = steepness(_PARALLELS[0]) ** n * math.cos(first) / n
    origin = _EARTH / _STEP * f / steepness(_ORIGIN[0]) ** n
    away = _EARTH / _STEP * f / steepness(max(-89.0, min(89.0, latitude))) ** n
    turn = (math.radians(longitude - _ORIGIN[1]) + math.pi) % (2 * math.pi) - math.pi
    x = away * math.sin(turn * n) + _AT[0]
    y = origin - away * math.cos(turn * n) + _AT[1]
    return Square(math.floor(x + 0.5), math.floor(y + 0.5))


def newest(now: datetime) -> datetime:
    """Time of issue of the newest forecast that is there. That of 23:00 begins at midnight: until then the one before
    tells what is left of the day."""
    at = now.astimezone(KOREA)
    there = at - READY
    hours = [hour for hour in ISSUED if hour <= there.hour and not hour == at.hour == ISSUED[-1]]
    day = there if hours else there - timedelta(days=1)
    return day.replace(hour=hours[-1] if hours else ISSUED[-1], minute=0, second=0, microsecond=0)


class Kma:
    """One client for a process. `clock`: the time, for tests."""

    def __init__(
        self,
        settings: KmaSettings,
        cache: Redis,
        breaker: Breaker | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._cache, self._clock = settings, cache, clock
        self._breaker = breaker or Breaker()
        self._asked: dict[str, asyncio.Task[list[Hour]]] = {}
        self._http: httpx2.AsyncClient | None = None

    async def aclose(self) -> None:
        for task in list(self._asked.values()):
            task.cancel()
        if self._http is not None:
            await self._http.aclose()

    async def hours(self, square: Square) -> list[Hour]:
        """The hours to come, from the forecast before where the newest is late. ForecastUnavailable."""
        issued = newest(self._clock())
        return await self._of_issue(square, issued) or await self._of_issue(square, issued - timedelta(hours=3))

    async def _of_issue(self, square: Square, issued: datetime) -> list[Hour]:
        key = f"chat:kma:{issued:%Y%m%d%H}:{square.x}:{square.y}"
        known = await self._known(key)
        if known is not None:
            return known
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(square, issued, key))
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: str, task: "asyncio.Task[list[Hour]]") -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, also when all who asked have gone

    async def _known(self, key: str) -> list[Hour] | None:
        with suppress(RedisError, OSError, ValueError, TypeError):
            found = await self._cache.get(key)
            if found:
                CALLS.labels("cached").inc()
                return [Hour(**row) for row in orjson.loads(found)]
        return None

    async def _ask(self, square: Square, issued: datetime, key: str) -> list[Hour]:
        if self._breaker.is_open():
            CALLS.labels("breaker").inc()
            raise ForecastUnavailable
        for attempt in (1, 2):
            if await self._count() > self._settings.kma_daily_quota:
                CALLS.labels("quota").inc()
                raise ForecastUnavailable
            try:
                async with asyncio.timeout(self._settings.kma_timeout.total_seconds()):
                    found = await self._call(square, issued)
            except (httpx2.HTTPError, TimeoutError) as error:
                late = isinstance(error, TimeoutError | httpx2.TimeoutException)
                CALLS.labels("late" if late else "away").inc()
                log.warning("the weather service is away: %s", type(error).__name__)  # its address carries the key
                self._breaker.failure()
                if attempt == 2 or self._breaker.is_open():
                    raise ForecastUnavailable from None
            else:
                CALLS.labels("answered").inc()
                self._breaker.success()
                with suppress(RedisError, OSError):
                    known_for = FRESH if found else MISSING
                    await self._cache.set(key, orjson.dumps([asdict(one) for one in found]), ex=known_for)
                return found
        raise ForecastUnavailable

    async def _call(self, square: Square, issued: datetime) -> list[Hour]:
        """HTTPError: worth another attempt. ForecastUnavailable: not now."""
        if self._http is None:
            self._http = httpx2.AsyncClient(
                timeout=self._settings.kma_timeout.total_seconds(),
                headers={"Accept-Encoding": "identity"},
                limits=httpx2.Limits(max_connections=10),
                trust_env=False,
                follow_redirects=False,
            )
        asked = {
            "serviceKey": self._settings.kma_service_key or "",
            "dataType": "JSON",
            "numOfRows": str(ROWS),
            "pageNo": "1",
            "base_date": f"{issued:%Y%m%d}",
            "base_time": f"{issued:%H%M}",
            "nx": str(square.x),
            "ny": str(square.y),
        }
        async with self._http.stream("GET", self._settings.kma_url + PATH, params=asked) as response:
            if response.status_code in (401, 403, 429):
                after = response.headers.get("retry-after", "")
                self._refuse("limited" if response.status_code == 429 else "refused", after)
            if response.status_code != 200:
                raise httpx2.ReadError(f"status {response.status_code}")
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > ANSWER_MAX:
                    raise httpx2.ReadError(f"an answer of more than {ANSWER_MAX} bytes")
        return self._read(body)

    def _read(self, body: bytes) -> list[Hour]:
        """Hours of an answer. A refusal of the gateway before the service comes as XML with status 200."""
        try:
            answer = orjson.loads(body)["response"]
            code = str(answer["header"]["resultCode"])
            if code == NO_DATA:
                return []
            self._respect(code)
            if code != "00":
                raise ValueError(f"code {code[:10]}")
            return _hours(answer["body"]["items"]["item"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if told := _XML_CODE.search(body[:2000]):
                self._respect(told[1].decode())
            raise httpx2.ReadError(f"an answer of another form: {error!r}"[:200]) from None

    def _respect(self, code: str) -> None:
        if code == LIMITED or code in REFUSED:
            self._refuse("limited" if code == LIMITED else "refused")

    def _refuse(self, outcome: str, after: str = "") -> None:
        if outcome == "limited":
            self._breaker.failure(min(LONG_PAUSE, float(after)) if after.isdecimal() else PAUSE)
        else:
            self._breaker.failure(LONG_PAUSE)
            log.error("the weather service refuses ECO2_KMA_SERVICE_KEY")
        CALLS.labels(outcome).inc()
        raise ForecastUnavailable

    async def _count(self) -> int:
        """One call more, for all processes; without Redis it is not counted, and the service's own limit is met."""
        key = f"chat:kma:calls:{self._clock().astimezone(KOREA):%Y-%m-%d}"
        try:
            async with self._cache.pipeline(transaction=True) as both:
                both.incr(key)
                both.expire(key, DAY_SECONDS)
                used, _ = await both.execute()
        except (RedisError, OSError):
            return 0
        return int(used)


def _hours(rows: Sequence[Mapping[str, Any]]) -> list[Hour]:
    """Rows of another form are left out; an answer that has none is an error."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        try:
            at = datetime.strptime(f"{row['fcstDate']}{row['fcstTime']}", "%Y%m%d%H%M").replace(tzinfo=KOREA)
            name, value = _NAMES[row["category"]]
            number = float(row["fcstValue"])
        except (ValueError, LookupError, TypeError):
            continue
        low, high = _RANGES[name]
        if low <= number <= high:
            found.setdefault(at.isoformat(), {})[name] = value(number)
    if not found:
        raise ValueError("no hours")
    return [Hour(at, **values) for at, values in sorted(found.items())]


_NAMES: dict[str, tuple[str, Callable[[float], float]]] = {
    "TMP": ("degrees", float),
    "SKY": ("sky", int),
    "PTY": ("falls", int),
    "POP": ("chance", int),
}
_RANGES = {"degrees": (-60, 60), "sky": (1, 4), "falls": (0, 4), "chance": (0, 100)}
