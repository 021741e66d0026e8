"""Places through the gateway and over gRPC: the nearest, search, clusters, feedback."""

import random
import uuid
from datetime import date
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from eco2.contracts.pb import location_pb2 as pb
from eco2.contracts.pb.location_pb2_grpc import LocationServiceStub
from eco2.contracts.pb.user_data_pb2 import ExportRequest, PurgeRequest
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest
from eco2.core.postgres import Database
from eco2.location import feedback_store, service, store
from tests.conftest import Person
from tests.integration.locations.conftest import API, Import, People, Place, rows


async def get(who: Person, path: str, **query: Any) -> Any:
    response = await who.http.get(f"{API}{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_centers_nearest_first_with_filters(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(f"{feed}-a", [Place(str(n), f"상자{n}", 34.0 + n / 100, 126.0) for n in range(5)])
    await load(f"{feed}-b", [Place("1", "헌옷", 34.005, 126.0)], "clothing-bins")
    here = {"lat": 34.0, "lon": 126.0, "radius": 50_000}
    found = await get(who, "/centers", **here)
    assert [one["name"] for one in found][:3] == ["상자0", "헌옷", "상자1"]
    assert found[0] | {"id": 0} == {
        "id": 0,
        "name": "상자0",
        "source": "keco",
        "road_address": None,
        "latitude": 34.0,
        "longitude": 126.0,
        "distance_km": 0.0,
        "distance_text": "0m",
        "store_category": "public_dropbox",
        "pickup_categories": [],
        "is_holiday": False,
        "is_open": True,
        "start_time": "00:00",
        "end_time": "24:00",
        "phone": None,
        "place_url": None,
        "kakao_place_id": None,
        "dataset": "battery_box",
        "streams": ["battery_bin"],
        "residents_only": False,
        "needs_check": False,
    }
    assert found[2]["distance_text"] == "1.1km"
    assert [one["name"] for one in await get(who, "/centers", **here, pickup_category="textile,glass")] == ["헌옷"]
    assert [one["name"] for one in await get(who, "/centers", **here, stream="clothing_bin")] == ["헌옷"]
    assert await get(who, "/centers", **here, pickup_category="textile", stream="battery_bin") == []
    assert len(await get(who, "/centers", **(here | {"radius": 600}))) == 2
    far = await get(who, "/centers", lat=34.0, lon=126.0, stream="battery_bin")
    assert [one["name"] for one in far][:5] == [f"상자{n}" for n in range(5)], "without a radius it goes on"
    assert len(far) > 5


async def test_a_walk_finds_the_nearest_and_says_whether_it_came_to_an_end(
    load: Import, feed: str, database: Database
) -> None:
    made = random.Random(19)
    here = (33.9, 124.9)
    spots = [(here[0] + made.uniform(-0.03, 0.03), here[1] + made.uniform(-0.03, 0.03)) for _ in range(120)]
    few = [Place(str(n), f"상자{n}", *spot) for n, spot in enumerate(spots) if n % 4 == 0]
    await load(f"{feed}-a", few, "lamp-boxes")
    await load(f"{feed}-b", [Place(str(n), f"옷{n}", *spot) for n, spot in enumerate(spots) if n % 4], "clothing-bins")
    wanted = await database.rows(
        """SELECT id FROM (
               SELECT p.id, tags, ST_Distance(geog, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography) away
               FROM location.places p JOIN location.feeds f ON f.id = feed_id WHERE f.name LIKE %(feed)s
           ) there WHERE away <= 2500 AND 'stream:lamp_bin' = ANY(tags) ORDER BY away""",
        lat=here[0],
        lon=here[1],
        feed=f"{feed}-%",
    )
    lamps = [["stream:lamp_bin"], ["store:public_dropbox"]]
    ids = [row[0] for row in wanted]
    assert len(ids) > 5

    async def walk(limit: int, among: int, radius: float = 2500) -> tuple[list[int], bool]:
        found, complete = await store.nearest(database, *here, radius, lamps, limit, among)
        return [place.id for place in found], complete

    assert await walk(50, 1000) == (ids, True), "in the whole radius"
    assert await walk(5, 1000) == (ids[:5], True), "as many as are asked for"
    short, complete = await walk(50, 20)
    assert (short, complete) == (ids[: len(short)], False), "the walk was too short to know"
    assert 0 < len(short) < len(ids)
    assert await walk(len(short), 20) == (short, True)
    assert await walk(50, 1000, radius=100) == ([], True)
    rare = await store.nearest_of_rare(database, *here, 2500, lamps, 50)
    assert [place.id for place in rare] == ids


async def test_zoom_in_the_client_s_way_and_radius_over_it(person: People) -> None:
    """The public client sends 16 less Kakao's level: a larger zoom is closer."""
    assert service.radius_of_zoom(15) < service.radius_of_zoom(10) < service.radius_of_zoom(2) == 50_000
    who = person()
    near = await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=15)
    wide = await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=8)
    assert len(near) < len(wide)
    assert await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=20, radius=20_000) == await get(
        who, "/centers", lat=37.5553, lon=126.9019, radius=20_000
    )


async def test_the_nearest_places_are_the_same_by_their_short_cut(person: People) -> None:
    """A query with an escape is not plain, so it takes the long way to the same bytes."""
    who = person()
    for query in (
        "radius=2000&pickup_category=all,can",
        "zoom=9&stream=battery_bin,lamp_bin",
        "store_category=all",
        "",
    ):
        path = f"{API}/centers?lat=37.5553&lon=126.9019&{query}"
        short = await who.http.get(path)
        long = await who.http.get(path.replace("37", "%337"))
        assert (short.status_code, long.status_code) == (200, 200)
        assert short.content == long.content
        assert short.json()
        assert short.headers["cache-control"] == long.headers["cache-control"]


async def test_words_that_json_escapes_are_the_same_by_the_short_cut(
    load: Import, feed: str, person: People, database: Database
) -> None:
    await load(feed, [Place(str(n), f"상자{n}", 34.0 + n / 1000, 124.6) for n in range(4)])
    strange = '"\\/\b\f\n\r\t\x01\x1f\x7f\u2028 가나👍é</script>'
    await database.run(
        """UPDATE location.places p SET name = %(strange)s, lot_address = %(strange)s, road_address = %(road)s,
                  phone = %(strange)s, pickup_categories = ARRAY[%(strange)s], streams = '{}', hours = %(hours)s
           FROM location.feeds f WHERE f.id = feed_id AND f.name = %(feed)s AND p.name = '상자1'""",
        strange=strange,
        road="",
        hours=Jsonb({"raw": strange, "always": True}),
        feed=feed,
    )
    await database.run(
        """UPDATE location.places p SET hours = NULL, data_date = NULL, residents_only = true, place_url = 'https://a/"'
           FROM location.feeds f WHERE f.id = feed_id AND f.name = %(feed)s AND p.name = '상자2'""",
        feed=feed,
    )
    path, who = f"{API}/centers?lat=34.0&lon=124.6&radius=1000", person()
    short, long = await who.http.get(path), await who.http.get(path.replace("34", "%334"))
    assert short.content == long.content
    assert [one["name"] for one in short.json()] == ["상자0", strange, "상자2", "상자3"]
    assert (short.json()[1]["road_address"], short.json()[1]["is_open"]) == (strange, True)


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/centers", "lat=37.5&lon=127&store_category=shop", 400, "INVALID_STORE_CATEGORY"),
        ("/centers", "lat=37.5&lon=127&pickup_category=can,bottle", 400, "INVALID_PICKUP_CATEGORY"),
        ("/centers", "lat=37.5&lon=127&stream=x", 400, "INVALID_STREAM"),
        ("/centers", "lat=nan&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=inf&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=91&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&radius=99", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&radius=50001", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&zoom=21", 422, "VALIDATION_ERROR"),
        ("/centers/99999999", "", 404, "LOCATION_NOT_FOUND"),
        ("/centers/-5", "", 404, "LOCATION_NOT_FOUND"),
        ("/centers/99999999999999999999", "", 422, "VALIDATION_ERROR"),
        ("/search", "q=", 422, "VALIDATION_ERROR"),
        ("/search", "q=a&radius=20001", 422, "VALIDATION_ERROR"),
        ("/clusters", "bbox=1,2,3", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=132,33,124,39", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=nan,33,132,39", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=124,33,132,39&pickup_category=can,glass", 400, "ONE_FILTER_ONLY"),
        ("/nearest", "lat=37.5&lon=127", 400, "STREAM_OR_ITEM"),
        ("/nearest", "lat=37.5&lon=127&stream=battery_bin&item=x", 400, "STREAM_OR_ITEM"),
        ("/nearest", "lat=37.5&lon=127&stream=x", 400, "INVALID_STREAM"),
        ("/nearest", "lat=37.5&lon=127&item=x", 404, "ITEM_NOT_FOUND"),
    ],
)
async def test_refusals(person: People, path: str, query: str, status: int, code: str) -> None:
    answer = await person().http.get(f"{API}{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_place_with_its_source(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(
        feed,
        [Place("1", "상자", 34.0, 126.1, "서울 마포구 독막로 950", "평일 09:00~18:00")],
        title="제목",
        publisher="기관",
        url="https://example.com",
    )
    (listed,) = await get(who, "/centers", lat=34.0, lon=126.1, radius=1000)
    found = await get(who, f"/centers/{listed['id']}")
    assert (found["name"], found["opening_hours"], found["pickup_categories"]) == ("상자", "평일 09:00~18:00", [])
    assert found["data_source"] == {
        "title": "제목",
        "publisher": "기관",
        "licence": "own",
        "url": "https://example.com",
        "date": "2026-11-01",
    }


async def test_each_list_of_places_is_named_with_its_licence(
    load: Import, feed: str, person: People, database: Database
) -> None:
    rows = [Place("1", "출처 상자", 33.41, 124.71), Place("2", "없앨 상자", 33.42, 124.72)]
    await load(feed, rows, title=feed, publisher=feed)
    ((gone,),) = await database.rows("SELECT id FROM location.places WHERE name = '없앨 상자'")
    await store.retire(database, gone, "steward")
    (own,) = (row for row in await store.sources(database) if row["title"] == feed)
    found = {"publisher": feed, "title": feed, "licence": "own", "url": "", "date": date(2026, 11, 1), "places": 1}
    assert own == found
    assert all(set(row) == set(found) for row in await get(person(), "/sources")), "as of a minute ago at most"


async def test_search_by_parts_errors_initials_and_regions(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(
        feed,
        [
            Place("1", "꿈틀나무 약국", 34.0, 126.2, "강원도 춘천시 시청길 900"),
            Place("2", "꿈틀나무약국 둘", 34.1, 126.2, "서울 마포구 독막로 960"),
            Place("3", "새벽별 약국", 34.2, 126.2, "서울 마포구 독막로 961"),
        ],
    )

    async def names(q: str, **query: Any) -> list[str]:
        return [one["name"] for one in await get(who, "/search", q=q, **query) if one["id"] > 0]

    assert await names("꿈틀나무약국") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("틀나무약") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("꿈틀나무야") == ["꿈틀나무 약국", "꿈틀나무약국 둘"], "an unfinished syllable"
    assert "꿈틀나무 약국" in await names("꿈틀나모약국"), "a typing error"
    assert await names("ㄲㅌㄴㅁㅇ") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("춘천시 꿈틀나무") == ["꿈틀나무 약국"]
    assert await names("강원도 꿈틀나무") == ["꿈틀나무 약국"], "by the former name of its province"
    assert await names("꿈틀나무", lat=34.1, lon=126.2, radius=5000) == ["꿈틀나무약국 둘"]
    assert await names("%") == []
    assert await names("'; --") == []
    suggested = await get(who, "/suggest", q="꿈틀나")
    assert [one["place_name"] for one in suggested] == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert set(suggested[0]) == {"place_name", "address", "latitude", "longitude", "place_url"}


async def test_nearest_for_a_thing(load: Import, feed: str, person: People) -> None:
    who = person()
    always, never = Place("1", "늘 여는 상자", 34.01, 126.3), Place("2", "닫은 상자", 34.001, 126.3, hours="휴무")
    await load(feed, [always, never])
    found = await get(who, "/nearest", stream="battery_bin", lat=34.0, lon=126.3)
    assert [one["name"] for one in found["places"]][:2] == ["닫은 상자", "늘 여는 상자"]
    assert "battery_box" in [kind["id"] for kind in found["drop_offs"]]
    opened = await get(who, "/nearest", stream="battery_bin", lat=34.0, lon=126.3, open_now=True)
    assert opened["places"][0]["name"] == "늘 여는 상자"
    item = await get(who, "/nearest", item="power_bank", lat=34.0, lon=126.3, limit=1)
    assert [one["name"] for one in item["places"]] == ["닫은 상자"]
    assert item["drop_offs"][0]["id"] == "rechargeable_box"


async def test_the_open_one_is_found_behind_many_closed_ones(load: Import, feed: str, person: People) -> None:
    closed = [Place(str(n), f"닫힌 상자{n}", 34.3 + n / 1000, 126.25, hours="계약종료") for n in range(50)]
    await load(feed, [*closed, Place("50", "늘 여는 상자", 34.36, 126.25, hours="상시")])
    where = {"lat": 34.3, "lon": 126.25, "radius": 20_000, "limit": 10}
    found = await get(person(), "/nearest", stream="battery_bin", open_now=True, **where)
    assert [one["name"] for one in found["places"]] == ["늘 여는 상자"]


async def test_clusters_follow_every_change(load: Import, feed: str, person: People, database: Database) -> None:
    who = person()
    corner = {"bbox": "124.9,34.9,125.3,35.3", "zoom": 6}

    async def counts(**query: Any) -> list[int]:
        return [one["count"] for one in await get(who, "/clusters", **corner, **query)]

    some = [Place(str(n), f"상자{n}", 35.0 + n * 0.0005, 125.0) for n in range(5)]
    await load(f"{feed}-a", some)
    await load(f"{feed}-b", [Place("1", "헌옷", 35.2, 125.2)], "clothing-bins")
    assert await counts() == [5, 1]
    assert await counts(stream="battery_bin") == [5]
    assert await counts(pickup_category="textile") == [1]
    await load(f"{feed}-a", some[:3])
    assert await counts() == [3, 1]
    ((number,),) = await rows(database, f"{feed}-b", "p.id")
    await store.retire(database, number, "steward")
    assert await counts() == [3]
    assert await counts(stream="clothing_bin") == []
    (one,) = await get(who, "/clusters", bbox="124,33,132,39", zoom=1, stream="cooking_oil_box") or [{"count": 0}]
    assert one["count"] == 0


async def test_feedback_is_said_once_seen_by_stewards_exported_and_forgotten(
    load: Import, feed: str, person: People, database: Database, environment: dict[str, str]
) -> None:
    who, other = person(), person()
    await load(feed, [Place("1", "상자", 34.0, 126.4)])
    ((number,),) = await rows(database, feed, "p.id")
    path = f"{API}/{number}/feedback"
    first = await who.http.post(path, json={"kind": "gone", "comment": "없어요"})
    again = await who.http.post(path, json={"kind": "gone", "comment": "정말 없어요"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert (await other.http.post(path, json={"kind": "moved"})).status_code == 201
    said = [(one["kind"], one["comment"]) for one in await feedback_store.said(database, number, 10)]
    assert said == [("moved", None), ("gone", "정말 없어요")]
    assert (await who.http.post(f"{API}/999999999/feedback", json={"kind": "gone"})).status_code == 404
    assert (await who.http.post(f"{API}/-3/feedback", json={"kind": "gone"})).status_code == 404
    assert (await who.http.post(path, json={"kind": "bad"})).status_code == 422
    address, secret = environment["ECO2_GRPC_LOCATION_API"], environment["ECO2_SERVICE_SECRET"]
    async with grpc.channel(address, secret) as channel:
        data = UserDataServiceStub(channel)
        exported = await grpc.call(data.Export, ExportRequest(user_id=str(who.id)))
        assert [record.kind for record in exported.records] == ["place_reports"]
        assert (await grpc.call(data.Purge, PurgeRequest(user_id=str(who.id)))).removed == 1
    assert [one["kind"] for one in await feedback_store.said(database, number, 10)] == ["moved"]


async def test_reports_of_a_day_have_an_end(load: Import, feed: str, database: Database) -> None:
    await load(feed, [Place("1", "상자", 34.0, 126.5)])
    ((number,),) = await rows(database, feed, "p.id")
    user = uuid.uuid4()
    assert await feedback_store.say(database, uuid.uuid4(), number, user, "gone", None, 1)
    assert await feedback_store.say(database, uuid.uuid4(), number, user, "moved", None, 1) is None


async def test_grpc_search_nearby(load: Import, feed: str, environment: dict[str, str]) -> None:
    await load(feed, [Place(str(n), f"상자{n}", 34.0 + n / 1000, 126.6) for n in range(12)])
    async with grpc.channel(environment["ECO2_GRPC_LOCATION_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        stub = LocationServiceStub(channel)
        found = await grpc.call(stub.SearchNearby, pb.SearchNearbyRequest(latitude=34.0, longitude=126.6))
        assert ([one.name for one in found.entries], found.total_count) == ([f"상자{n}" for n in range(10)], 10)
        assert (found.entries[0].is_open, found.entries[0].dataset) == (True, "battery_box")
        few = pb.SearchNearbyRequest(latitude=34.0, longitude=126.6, radius=250, limit=200)
        assert (await grpc.call(stub.SearchNearby, few)).total_count == 3
        with pytest.raises(BadRequest) as refused:
            await grpc.call(stub.SearchNearby, pb.SearchNearbyRequest(latitude=float("nan"), longitude=126.6))
        assert refused.value.code == "INVALID_COORDINATES"
        wrong = pb.SearchNearbyRequest(latitude=34.0, longitude=126.6, store_category="x")
        with pytest.raises(BadRequest) as refused:
            await grpc.call(stub.SearchNearby, wrong)
        assert refused.value.code == "INVALID_STORE_CATEGORY"


async def test_the_sample_has_both_toggles_of_the_client(person: People) -> None:
    found = await get(person(), "/centers", lat=37.5553, lon=126.9019, radius=5000)
    assert {one["source"] for one in found} == {"keco", "zerowaste"}
    assert all(isinstance(one["pickup_categories"], list) for one in found)
    assert {one["dataset"] for one in found} >= {"battery_box", "medicine_box", "clothing_bin", "compensation_centre"}
