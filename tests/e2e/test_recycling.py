"""The knowledge base over HTTP, through the gateway: who may, what is cached, what is answered."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from eco2.local.stack import Stack
from tests.conftest import GATEWAY_PORT, Person

People = Callable[[], Person]
BASE = "/api/v1/recycling"


@pytest.fixture
async def anybody(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{GATEWAY_PORT}", timeout=30) as client:
        yield client


async def test_the_catalogue_is_public_and_questions_are_not(anybody: httpx2.AsyncClient) -> None:
    paths = ("items", "items/pizza_box", "streams", "rules", "rules/vinyl", "situations", "regions", "search?q=ㅍㅌㅂ")
    for path in paths:
        assert (await anybody.get(f"{BASE}/{path}")).status_code == 200, path
    refused = await anybody.post(f"{BASE}/ask", json={"question": "피자박스"})
    assert refused.status_code == 401


async def test_pages_hold_every_item_once(anybody: httpx2.AsyncClient) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = (await anybody.get(f"{BASE}/items", params=query)).raise_for_status().json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == page["total"]
    films = (await anybody.get(f"{BASE}/items", params={"stream": "vinyl"})).json()["items"]
    assert {item["stream"] for item in films} == {"vinyl"}


async def test_what_has_not_changed_is_not_sent_again(anybody: httpx2.AsyncClient) -> None:
    first = await anybody.get(f"{BASE}/items/pizza_box")
    etag = first.headers["etag"]
    assert "public" in first.headers["cache-control"]
    for known in (etag, f'W/{etag}, "other"', "*"):
        again = await anybody.get(f"{BASE}/items/pizza_box", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    changed = await anybody.get(f"{BASE}/items/pizza_box", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("items/nothing", 404, "ITEM_NOT_FOUND"),
        ("items?stream=nothing", 404, "STREAM_NOT_FOUND"),
        ("items?cursor=nothing", 400, "CURSOR_UNKNOWN"),
        ("items?limit=0", 422, "VALIDATION_ERROR"),
        ("rules/nothing", 404, "STREAM_NOT_FOUND"),
        ("regions/nothing", 404, "REGION_NOT_FOUND"),
        ("search?q=", 422, "VALIDATION_ERROR"),
    ],
)
async def test_errors_say_what_is_wrong(anybody: httpx2.AsyncClient, path: str, status: int, code: str) -> None:
    response = await anybody.get(f"{BASE}/{path}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "etag" not in response.headers


async def test_a_question_is_answered_item_by_item(person: People) -> None:
    body = {"question": "기름 묻은 피자박스랑 소주병 어떻게 버려요?"}
    answer = (await person().http.post(f"{BASE}/ask", json=body)).raise_for_status().json()
    assert [(item["item"], item["stream"]) for item in answer["items"]] == [
        ("pizza_box", "general_bag"),
        ("soju_bottle", "bottle_return"),
    ]
    for item in answer["items"]:
        assert item["streams"][0] == item["stream"]
        assert item["steps"]
        assert item["donts"]
        assert item["sources"]
    assert "clarify" not in answer


async def test_questions_are_asked_back_declined_and_bounded(person: People) -> None:
    http = person().http
    vague = (await http.post(f"{BASE}/ask", json={"question": "컵 어떻게 버려요?"})).raise_for_status().json()
    assert vague["clarify"]
    assert len(vague["candidates"]) > 1
    declined = (await http.post(f"{BASE}/ask", json={"question": "오늘 날씨 어때?"})).raise_for_status().json()
    assert declined["items"] == []
    assert "clarify" not in declined
    for wrong in ({}, {"question": ""}, {"question": "가" * 501}, {"question": "병", "lang": "fr"}):
        assert (await http.post(f"{BASE}/ask", json=wrong)).status_code == 422


MAPO = "regions/서울특별시 마포구/calendar"


async def test_the_days_of_a_district_are_public_and_kept_by_nobody(anybody: httpx2.AsyncClient) -> None:
    query = {"stream": "vinyl", "area": "합정동", "from": "2026-12-01", "days": "10"}
    answer = (await anybody.get(f"{BASE}/{MAPO}", params=query)).raise_for_status()
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["district"], body["collection"], body["source"]["sample"]) == ("서울특별시 마포구", "vinyl", True)
    (area,) = body["areas"]
    assert area["pickups"][0]["days"] == ["thu"]
    assert [one["date"] for one in area["next"]] == ["2026-12-03", "2026-12-10"]
    short = (await anybody.get(f"{BASE}/regions/마포구/calendar")).json()
    assert len(short["areas"]) == 2


async def test_the_days_can_be_subscribed_to(anybody: httpx2.AsyncClient) -> None:
    first = (await anybody.get(f"{BASE}/{MAPO}.ics", params={"stream": "vinyl"})).raise_for_status()
    assert first.headers["content-type"] == "text/calendar; charset=utf-8"
    assert first.text.startswith("BEGIN:VCALENDAR\r\n")
    assert first.text.count("BEGIN:VEVENT") == 2
    known = {"If-None-Match": first.headers["etag"]}
    again = await anybody.get(f"{BASE}/{MAPO}.ics", params={"stream": "vinyl"}, headers=known)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("regions/없는구/calendar", 404, "REGION_NOT_FOUND"),
        ("regions/중구/calendar", 404, "REGION_NOT_FOUND"),
        ("regions/인천광역시 옹진군/calendar", 404, "NO_COLLECTION_DAYS"),
        (f"{MAPO}?area=하늘동", 404, "AREA_NOT_FOUND"),
        (f"{MAPO}?stream=battery_bin", 404, "STREAM_NOT_COLLECTED"),
        (f"{MAPO}.ics?stream=bulky", 404, "STREAM_NOT_COLLECTED"),
        (f"{MAPO}?from=0001-01-01", 400, "DAY_OUT_OF_RANGE"),
        (f"{MAPO}?from=2026-02-30", 422, "VALIDATION_ERROR"),
        (f"{MAPO}?days=93", 422, "VALIDATION_ERROR"),
    ],
)
async def test_calendars_say_what_is_wrong(anybody: httpx2.AsyncClient, path: str, status: int, code: str) -> None:
    response = await anybody.get(f"{BASE}/{path}")
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_question_for_a_day_is_answered_with_the_day_and_its_source(person: People) -> None:
    http = person().http
    body = {"question": "마포구 합정동 비닐 내놓는 날"}
    answer = (await http.post(f"{BASE}/ask", json=body)).raise_for_status().json()
    assert "비닐류: 목요일 18:00–24:00" in answer["answer"]
    assert "출처: Eco² 견본" in answer["answer"]
    assert answer["district"]["name"] == "서울특별시 마포구"
    days = (await http.get(answer["calendar"])).raise_for_status().json()
    assert days["collection"] == "vinyl"
    unknown = {"question": "비닐 내놓는 날 언제예요?", "district": "인천광역시 옹진군"}
    assert "자료는 아직 없어요" in (await http.post(f"{BASE}/ask", json=unknown)).json()["answer"]
    battery = {"question": "마포구 건전지 버리는 날"}
    assert "수거함" in (await http.post(f"{BASE}/ask", json=battery)).json()["answer"]
