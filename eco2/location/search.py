"""Places by name: our own first, then those of Kakao."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from eco2.core.errors import TooMany
from eco2.location import store, words
from eco2.location.importing.addresses import Regions
from eco2.location.kakao import KakaoLate, KakaoPlace, KakaoShareUsed, KakaoUnavailable, Query
from eco2.location.opening import KOREA
from eco2.location.service import Entry, Services, entry, near, of_kakao, once
from eco2.location.store import Place, Wanted

RADIUS_MAX, LIMIT, SUGGEST_LIMIT = 20_000, 15, 10


class TooManySearches(TooMany):
    """짧은 시간에 너무 많이 찾았어요. 잠시 뒤에 다시 찾아 주세요."""

    code = "TOO_MANY_SEARCHES"


async def search(
    services: Services, user: UUID, q: str, lat: float | None, lon: float | None, radius: float, now: datetime
) -> list[Entry]:
    """Our own places first, then those that Kakao knows. KakaoUnavailable where neither answers; TooManySearches."""
    _count(services, user)
    here: tuple[float | None, float | None] = (lat, lon) if lat is not None and lon is not None else (None, None)
    wanted = read(services.regions, q, here[0], here[1], radius)
    own = once(await store.search(services.db, wanted, LIMIT))
    found = [entry(place, now, services.clock) for place in own]
    if len(found) >= LIMIT:
        return found
    query = Query(q, here[0], here[1], radius if here[0] is not None else None)
    others = await _at_kakao(services, user, query, bool(found))
    new = [place for place in others if not any(_same(place, known) for known in own)]
    return [*found, *(of_kakao(place, *here) for place in new)]


def _same(place: KakaoPlace, own: Place) -> bool:
    return str(-place.id) == own.kakao_place_id or near(place, own)


async def _at_kakao(services: Services, user: UUID, query: Query, enough: bool) -> list[KakaoPlace]:
    """None where it is not set up, or away while there is something else to show; then it is asked again behind."""
    if not services.kakao.is_configured or not query.text.strip():
        return []
    try:
        return await services.kakao.search(query, user)
    except KakaoShareUsed:
        if enough:
            return []
        raise TooManySearches(
            "오늘 찾을 수 있는 만큼 모두 찾았어요. 내일 다시 찾아 주세요.", retry_after=_seconds_of_day_left()
        ) from None
    except KakaoUnavailable as error:
        if isinstance(error, KakaoLate):
            await services.background.search(query)
        if enough:
            return []
        raise


def _seconds_of_day_left() -> float:
    now = datetime.now(KOREA)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), KOREA)
    return (midnight - now).total_seconds()


def _count(services: Services, user: UUID) -> None:
    seconds = services.searches.take(user)
    if seconds:
        raise TooManySearches(retry_after=seconds)


def read(
    regions: Regions, q: str, lat: float | None = None, lon: float | None = None, radius: float | None = None
) -> Wanted:
    """The name and the regions that the words ask for: "마포구 약국" is a name in a region."""
    named, rest = [], []
    for word in q.split():
        tag = regions.tag_of(word)
        if tag:
            named.append(f"in:{tag}")
        else:
            rest.append(word)
    key = words.key(" ".join(rest))
    if not key and not named:
        key = words.key(q)
    return Wanted(
        key=key,
        letters=words.letters(key),
        is_initials=words.is_initials(key),
        regions=named,
        lat=lat,
        lon=lon,
        radius=radius if lat is not None else None,
    )


@dataclass(frozen=True)
class Suggestion:
    place_name: str
    address: str | None
    latitude: float
    longitude: float
    place_url: str | None


async def suggest(services: Services, user: UUID, q: str) -> list[Suggestion]:
    """Suggestions for a text in progress: our own places; Kakao's if there are none. TooManySearches."""
    _count(services, user)
    own = once(await store.search(services.db, read(services.regions, q), SUGGEST_LIMIT))
    if own:
        return [
            Suggestion(p.name, p.road_address or p.lot_address, p.latitude or 0, p.longitude or 0, p.place_url)
            for p in own
        ]
    try:
        others = await _at_kakao(services, user, Query(q), enough=True)
    except KakaoUnavailable:
        others = []
    return [
        Suggestion(p.name, p.road_address or p.lot_address, p.latitude, p.longitude, p.place_url)
        for p in others[:SUGGEST_LIMIT]
    ]
