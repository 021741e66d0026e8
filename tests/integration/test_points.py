"""Points and leaderboards: written from grants on the real servers, read through the gateway."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eco2 import knowledge
from eco2.character import service, store
from eco2.character.leaderboard import SHOWN, ranked, start
from eco2.character.points import KOREA, Rates, day_of
from eco2.contracts.grants import Grant
from eco2.contracts.queues import REWARD_EXCHANGE, REWARD_QUEUE
from eco2.core.postgres import Database
from eco2.knowledge.districts import Districts
from eco2.messaging.consumer import Message, PoisonMessage
from eco2.scan.services import Services
from tests.conftest import Person
from tests.e2e.journey import is_error
from tests.unit.test_points import photo, twin

People = Callable[[], Person]
RATES = Rates(per_scan=10, daily_cap=100)
BASE = knowledge.load()
NOW = datetime.now(UTC)


def grant(user: uuid.UUID, at: datetime = NOW, **other: Any) -> Grant:
    fields: dict[str, Any] = {"job_id": uuid.uuid4(), "character_code": "char-petty", "photo": photo(), **other}
    return Grant(user_id=user, source="scan", earned_at=at, **fields)


def as_message(one: Grant) -> Message:
    return cast(Message, SimpleNamespace(body=one.model_dump_json().encode()))


async def write(db: Database, *grants: Grant) -> service.Written:
    """As character-worker does."""
    async with db.transaction() as tx:
        return await service.grant(tx, BASE, RATES, [as_message(one) for one in grants])


async def amounts(db: Database, user: uuid.UUID) -> list[tuple[str, int]]:
    rows = await db.rows("SELECT reason, amount FROM character.points WHERE user_id = %(user)s ORDER BY id", user=user)
    return [(reason, amount) for reason, amount in rows]


async def test_points_arrive_with_the_character_within_two_seconds(services: Services, person: People) -> None:
    who = person()
    body = grant(who.id, datetime.now(UTC)).model_dump(mode="json")
    await services.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, uuid.uuid4().hex)

    async def balance() -> int:
        return int((await who.http.get("/api/v1/users/me/points")).json()["balance"])

    async with asyncio.timeout(2):
        while not await balance():
            await asyncio.sleep(0.05)
    found = (await who.http.get("/api/v1/users/me/points")).json()
    assert (found["balance"], found["today"], found["daily_cap"]) == (10, 10, 100)
    assert found["streak"] == {"current": 1, "longest": 1}
    entry = found["history"][0]
    assert (entry["job_id"], entry["character_name"], entry["reason"]) == (body["job_id"], "페티", "scan")
    assert "페티" in [row["name"] for row in (await who.http.get("/api/v1/users/me/characters")).json()]


async def test_a_grant_that_comes_again_changes_nothing(db: Database) -> None:
    one, other = grant(uuid.uuid4()), grant(uuid.uuid4())
    assert await write(db, one, other, one) == service.Written(2, 20)
    assert await write(db, other, one) == service.Written(0, 0)
    assert await amounts(db, one.user_id) == [("scan", 10)]


async def test_the_same_photo_earns_points_once_and_its_character_always(db: Database) -> None:
    anna, ben, shown = uuid.uuid4(), uuid.uuid4(), photo()
    await write(db, grant(anna, photo=shown))
    await write(db, grant(anna, photo=twin(shown), character_code="char-bini"))
    await write(db, grant(ben, photo=twin(shown)))
    await write(db, grant(anna, NOW - timedelta(days=400), photo=twin(shown)))
    assert await amounts(db, anna) == [("scan", 10), ("seen_before", 0), ("seen_before", 0)]
    assert await amounts(db, ben) == [("seen_today", 0)]
    async with db.transaction() as tx:
        assert [code for code, _ in await store.owned(tx, ben)] == ["char-petty"]
        assert sorted(code for code, _ in await store.owned(tx, anna)) == ["char-bini", "char-petty"]


async def test_a_photo_of_another_day_earns_for_somebody_else(db: Database) -> None:
    shown, ben = photo(), uuid.uuid4()
    await write(db, grant(uuid.uuid4(), NOW - timedelta(days=1), photo=shown))
    await write(db, grant(ben, photo=twin(shown)))
    assert await amounts(db, ben) == [("scan", 10)]


async def test_a_photo_further_away_earns(db: Database) -> None:
    shown, anna = photo(), uuid.uuid4()
    await write(db, grant(anna, photo=shown))
    await write(db, grant(anna, photo=twin(shown, 25)))
    assert await amounts(db, anna) == [("scan", 10)] * 2


async def test_without_a_photo_each_job_earns(db: Database) -> None:
    anna = uuid.uuid4()
    await write(db, grant(anna, photo=None))
    await write(db, grant(anna, photo=None))
    assert await amounts(db, anna) == [("scan", 10)] * 2


async def test_a_day_is_capped_over_batches(db: Database) -> None:
    anna = uuid.uuid4()
    await write(db, *(grant(anna) for _ in range(7)))
    await write(db, *(grant(anna) for _ in range(7)))
    found = await amounts(db, anna)
    assert found == [("scan", 10)] * 10 + [("daily_cap", 0)] * 4


async def test_two_workers_at_once_pay_a_photo_once(db: Database) -> None:
    """Each is in the middle of its transaction while the other one decides, unless the ledger is locked."""
    for _ in range(5):
        shown = photo()
        people = [uuid.uuid4() for _ in range(4)]
        await asyncio.gather(*(write(db, grant(who, photo=twin(shown, 12))) for who in people))
        found = [entry for who in people for entry in await amounts(db, who)]
        assert sorted(found) == [("scan", 10), *[("seen_today", 0)] * 3]


async def test_a_clock_ahead_does_not_open_tomorrow(db: Database) -> None:
    anna = uuid.uuid4()
    await write(db, grant(anna, datetime.now(UTC) + timedelta(days=3)))
    async with db.transaction() as tx:
        assert list(await store.totals(tx, anna)) == [day_of(datetime.now(UTC))]


@pytest.mark.parametrize(
    "change",
    [
        {"photo": {"digest": "0" * 64}},
        {"photo": {"digest": "0" * 64, "phash": "0" * 63}},
        {"photo": {"digest": "0" * 64, "phash": "g" * 64}},
        {"earned_at": "2026-11-25T10:00:00"},
        {"earned_at": "1969-12-31T00:00:00Z"},
        {"source": "gift"},
        {"user_id": "anna"},
        {"character_code": "char-nobody"},
    ],
)
def test_what_can_never_be_written_is_poison(change: dict[str, Any]) -> None:
    import orjson

    body = {**grant(uuid.uuid4()).model_dump(mode="json"), **change}
    with pytest.raises(PoisonMessage):
        service.parse(cast(Message, SimpleNamespace(body=orjson.dumps(body))), BASE)


def test_a_field_of_a_newer_sender_is_no_poison() -> None:
    one = grant(uuid.uuid4())
    body = one.model_dump_json()[:-1] + ', "weather": "rain"}'
    assert service.parse(cast(Message, SimpleNamespace(body=body)), BASE) == one


# --- history ----------------------------------------------------------------------------------------------------------


async def test_history_is_read_page_by_page_newest_first(db: Database, person: People) -> None:
    who = person()
    same_moment = NOW - timedelta(days=1)
    mine = [grant(who.id, same_moment) for _ in range(4)] + [
        grant(who.id, NOW - timedelta(days=days)) for days in (4, 3, 2)
    ]
    await write(db, *mine, grant(uuid.uuid4()))
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = (await who.http.get("/api/v1/users/me/points", params=query)).json()
        assert len(page["history"]) <= 2
        seen += [entry["job_id"] for entry in page["history"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    newest_first = [*reversed(mine[:4]), mine[6], mine[5], mine[4]]
    assert seen == [str(one.job_id) for one in newest_first]
    assert page["streak"] == {"current": 4, "longest": 4}
    assert page["balance"] == 70


@pytest.mark.parametrize("cursor", ["x", "MTIz", "한글", "MjAyNi0xMS0yNVQxMDowMDowMCA1", "A" * 100])
async def test_a_cursor_of_ones_own_making_is_refused(person: People, cursor: str) -> None:
    answer = await person().http.get("/api/v1/users/me/points", params={"cursor": cursor})
    assert is_error(answer, 400, "INVALID_CURSOR")


async def test_points_are_ones_own(db: Database, person: People) -> None:
    anna, ben = person(), person()
    await write(db, grant(anna.id))
    found = (await ben.http.get("/api/v1/users/me/points", headers={"x-user-id": str(anna.id)})).json()
    assert (found["balance"], found["history"], found["next_cursor"]) == (0, [], None)


# --- leaderboard ------------------------------------------------------------------------------------------------------

BOARD = "/api/v1/character/leaderboard"
MINE = "/api/v1/users/me/leaderboard"


@dataclass
class District:
    """Of nobody else: the tests share one database."""

    names: list[str]

    def __call__(self) -> str:
        return self.names.pop()


@pytest.fixture(scope="module")
def district() -> District:
    return District(list(Districts.load(None).names))


async def joined(who: Person, district: str, nickname: str) -> None:
    answer = await who.http.put(MINE, json={"nickname": nickname, "district": district})
    assert answer.status_code == 200, answer.text


async def board(who: Person, district: str, **query: str) -> dict[str, Any]:
    return dict((await who.http.get(BOARD, params={"district": district, **query})).raise_for_status().json())


def rows(board: dict[str, Any]) -> list[tuple[int, str, int, bool]]:
    return [(row["rank"], row["nickname"], row["points"], row["you"]) for row in board["entries"]]


async def test_a_board_ranks_who_asked_for_it_and_nobody_else(db: Database, person: People, district: District) -> None:
    place, people = district(), [person() for _ in range(6)]
    for number, who in enumerate(people):
        await write(db, *(grant(who.id, photo=photo()) for _ in range(number)))
    for number, who in enumerate(people[:5]):
        await joined(who, place, f"시민 {number}")
    found = await board(people[2], place)
    assert found["members"] == 5
    expected = [(1, "시민 4", 40, False), (2, "시민 3", 30, False), (3, "시민 2", 20, True), (4, "시민 1", 10, False)]
    assert rows(found) == expected
    assert not any(str(who.id) in str(found) for who in people)
    assert rows(await board(people[5], place)) == [(*row[:3], False) for row in expected]


async def test_too_few_people_are_not_shown(db: Database, person: People, district: District) -> None:
    place, people = district(), [person() for _ in range(5)]
    for number, who in enumerate(people[:4]):
        await write(db, grant(who.id))
        await joined(who, place, f"시민 {number}")
    found = await board(people[0], place)
    assert (found["members"], found["entries"]) == (None, [])
    await joined(people[4], place, "다섯째")
    assert len((await board(people[0], place))["entries"]) == 4
    assert (await people[4].http.delete(MINE)).status_code == 204
    assert (await board(people[0], place))["entries"] == []


async def test_a_period_counts_its_own_points(db: Database, person: People, district: District) -> None:
    place, people = district(), [person() for _ in range(5)]
    await write(db, *(grant(who.id, NOW - timedelta(days=40)) for who in people), grant(people[0].id))
    for number, who in enumerate(people):
        await joined(who, place, f"시민 {number}")
    assert rows(await board(people[1], place, period="week")) == [(1, "시민 0", 10, False)]
    assert rows(await board(people[1], place)) == [(1, "시민 0", 10, False)]
    ever = rows(await board(people[1], place, period="all"))
    assert ever[0] == (1, "시민 0", 20, False)
    assert [row[0] for row in ever] == [1, 2, 2, 2, 2]


async def test_who_leaves_is_forgotten(person: People, district: District, db: Database) -> None:
    who, place = person(), district()
    assert (await who.http.get(MINE)).json()["joined"] is False
    await joined(who, place, "첫 이름")
    await joined(who, place, "새 이름")
    found = (await who.http.get(MINE)).json()
    assert (found["joined"], found["nickname"], found["district"]) == (True, "새 이름", place)
    assert (await who.http.get(BOARD)).json()["district"] == place
    for _ in range(2):
        assert (await who.http.delete(MINE)).status_code == 204
    assert await db.rows("SELECT 1 FROM character.leaderboard_members WHERE user_id = %(user)s", user=who.id) == []
    assert is_error(await who.http.get(BOARD), 400, "DISTRICT_REQUIRED")


@pytest.mark.parametrize(
    "nickname", ["", "a", "  a ", "x" * 21, "나<b>", "me@example.org", "0101234567", "tab\x07", "🙂🙂"]
)
async def test_a_nickname_is_plain_and_short(person: People, nickname: str) -> None:
    answer = await person().http.put(MINE, json={"nickname": nickname, "district": "서울 금천구"})
    assert is_error(answer, 400, "INVALID_NICKNAME")


@pytest.mark.parametrize("place", ["", "중구", "Gotham", "서울특별시", "서울 해운대구", "'; DROP TABLE"])
async def test_a_district_is_one_of_korea(person: People, place: str) -> None:
    who = person()
    answer = await who.http.put(MINE, json={"nickname": "시민", "district": place})
    assert is_error(answer, 400, "UNKNOWN_DISTRICT")
    assert is_error(await who.http.get(BOARD, params={"district": place}), 400, "UNKNOWN_DISTRICT")


async def test_names_on_a_board_look_different(person: People) -> None:
    first, second, place = person(), person(), "서울 금천구"
    name = f"초록 나무{uuid.uuid4().int % 10_000}"
    await joined(first, place, name)
    await joined(first, place, name)
    answer = await second.http.put(MINE, json={"nickname": name.replace(" ", "-"), "district": place})
    assert is_error(answer, 409, "NICKNAME_TAKEN")
    await joined(second, "서울 마포구", name)


async def test_a_nul_in_a_nickname_is_a_bad_request(person: People) -> None:
    answer = await person().http.put(MINE, json={"nickname": "시민\0", "district": "금천구"})
    assert is_error(answer, 422, "VALIDATION_ERROR")


async def test_a_district_may_be_named_as_people_do(person: People) -> None:
    who = person()
    for said in ("서울특별시 금천구", "서울 금천구", " 금천구 ", "서울  금천구"):
        answer = await who.http.put(MINE, json={"nickname": "시민", "district": said})
        assert answer.json()["district"] == "서울특별시 금천구"
    names = (await who.http.get("/api/v1/character/districts")).json()
    assert "세종특별자치시 세종시" in names
    assert len(names) == len(set(names)) > 220


def test_periods_begin_in_korea() -> None:
    sunday_evening = datetime(2026, 11, 29, 14, 59, tzinfo=UTC)
    assert start("week", sunday_evening) == datetime(2026, 11, 23, tzinfo=KOREA)
    assert start("week", sunday_evening + timedelta(minutes=1)) == datetime(2026, 11, 30, tzinfo=KOREA)
    assert start("month", datetime(2026, 11, 30, 15, tzinfo=UTC)) == datetime(2026, 12, 1, tzinfo=KOREA)
    assert start("all", sunday_evening) is None


def test_the_user_is_shown_wherever_that_is() -> None:
    me = uuid.uuid4()
    others = [(uuid.uuid4(), f"n{n}", 1000 - n) for n in range(SHOWN + 20)]
    found = ranked([*others, (me, "me", 5), (uuid.uuid4(), "last", 1)], me)
    assert len(found) == SHOWN + 1
    assert (found[-1].rank, found[-1].nickname, found[-1].you) == (SHOWN + 21, "me", True)


# --- removal ----------------------------------------------------------------------------------------------------------


async def test_a_grant_that_comes_after_the_removal_brings_nothing_back(db: Database) -> None:
    anna, ben = uuid.uuid4(), uuid.uuid4()
    early, late = grant(anna), grant(anna)
    await write(db, early, grant(ben))
    async with db.transaction() as tx:
        await store.join(tx, anna, "안나", "안나", "서울특별시 금천구")
    assert await removed(db, anna) == 3
    assert await removed(db, anna) == 0
    await write(db, late, early, grant(ben))
    assert await db.rows("SELECT 1 FROM character.ownerships WHERE user_id = %(user)s", user=anna) == []
    assert await db.rows("SELECT 1 FROM character.points WHERE user_id = %(user)s", user=anna) == []
    assert await db.rows("SELECT 1 FROM character.leaderboard_members WHERE user_id = %(user)s", user=anna) == []
    assert len(await amounts(db, ben)) == 2


async def removed(db: Database, user: uuid.UUID) -> int:
    async with db.transaction() as tx:
        return await service.purge(tx, user)


async def test_a_batch_in_work_and_a_removal_wait_for_each_other(db: Database) -> None:
    anna = uuid.uuid4()
    async with db.transaction() as tx:
        await service.grant(tx, BASE, RATES, [as_message(grant(anna))])
        removal = asyncio.create_task(removed(db, anna))
        await asyncio.sleep(0.3)
        assert not removal.done()
    assert await removal == 2
    assert await amounts(db, anna) == []


async def test_twins_of_a_day_are_found_by_the_index(db: Database) -> None:
    """A plan that reads the whole ledger for each grant would be slow only when it is large."""
    async with db.transaction() as tx:
        await tx.run("SET LOCAL enable_seqscan = off")
        rows = await tx.rows(
            "EXPLAIN SELECT 1 FROM character.points p WHERE p.bands && '{1,2}'::int[] AND p.amount > 0"
        )
    plan = "\n".join(row[0] for row in rows)
    assert "ix_points_bands" in plan
