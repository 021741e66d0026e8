"""CharacterService and the user's data over gRPC, as other services call them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc as wire
import pytest

from eco2.character import store
from eco2.contracts.pb import character_pb2 as pb
from eco2.contracts.pb import user_data_pb2 as data
from eco2.contracts.pb.character_pb2_grpc import CharacterServiceStub
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest
from eco2.core.postgres import Database
from tests.conftest import Person
from tests.integration.test_points import amounts, grant, write

if TYPE_CHECKING:
    from eco2.contracts.pb.character_pb2_grpc import CharacterServiceAsyncStub

PET = pb.Classification(major_category="재활용폐기물", middle_category="무색페트병", minor_category="생수병")


@pytest.fixture
async def channel(environment: dict[str, str], person: Callable[[], Person]) -> AsyncIterator[wire.aio.Channel]:
    async with grpc.channel(environment["ECO2_GRPC_CHARACTER_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        yield channel


@pytest.fixture
def characters(channel: wire.aio.Channel) -> "CharacterServiceAsyncStub":
    return CharacterServiceStub(channel)


def scanned(**change: Any) -> pb.GetCharacterRewardRequest:
    fields: dict[str, Any] = {
        "source": "scan",
        "user_id": str(uuid.uuid4()),
        "task_id": str(uuid.uuid4()),
        "classification": PET,
        "disposal_rules_present": True,
        "insufficiencies_present": False,
    }
    return pb.GetCharacterRewardRequest(**{**fields, **change})


async def test_a_reward_is_given_once(characters: "CharacterServiceAsyncStub", db: Database) -> None:
    request = scanned()
    answers = await asyncio.gather(*(grpc.call(characters.GetCharacterReward, request) for _ in range(5)))
    assert {(one.received, one.already_owned, one.name, one.match_reason) for one in answers} == {
        (True, False, "페티", "무색페트병>생수병")
    }, "a repeated call gets the answer of the first"
    again = await grpc.call(characters.GetCharacterReward, scanned(user_id=request.user_id))
    assert (again.received, again.already_owned, again.name) == (False, True, "페티")
    async with db.transaction() as tx:
        assert [code for code, _ in await store.owned(tx, uuid.UUID(request.user_id))] == ["char-petty"]
    assert await amounts(db, uuid.UUID(request.user_id)) == [], "points come with the grant, which has the photo"


@pytest.mark.parametrize(
    "change",
    [
        {"insufficiencies_present": True},
        {"disposal_rules_present": False},
        {"classification": pb.Classification(major_category="일반종량제폐기물", middle_category="무색페트병")},
        {"classification": pb.Classification(major_category="재활용폐기물", middle_category="무색 페트병")},
        {"classification": None},
    ],
)
async def test_what_earns_nothing_gives_nothing(
    characters: "CharacterServiceAsyncStub", db: Database, change: dict[str, Any]
) -> None:
    request = scanned(**change)
    answer = await grpc.call(characters.GetCharacterReward, request)
    assert (answer.received, answer.already_owned, answer.HasField("name")) == (False, False, False)
    async with db.transaction() as tx:
        assert await store.owned(tx, uuid.UUID(request.user_id)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"user_id": "anna"}, "INVALID_USER_ID"),
        ({"task_id": ""}, "INVALID_TASK_ID"),
        ({"source": "quest"}, "INVALID_SOURCE"),
    ],
)
async def test_bad_requests_are_named(
    characters: "CharacterServiceAsyncStub", change: dict[str, Any], code: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        await grpc.call(characters.GetCharacterReward, scanned(**change))
    assert refusal.value.code == code


async def test_characters_are_found_by_class_and_by_default(characters: "CharacterServiceAsyncStub") -> None:
    found = await grpc.call(characters.GetCharacterByMatch, pb.GetCharacterByMatchRequest(match_label="종이팩"))
    assert (found.found, found.character_name, found.character_code) == (True, "팩토리", "char-factory")
    for label in ("", "음식물", "이코"):
        missing = await grpc.call(characters.GetCharacterByMatch, pb.GetCharacterByMatchRequest(match_label=label))
        assert missing == pb.GetCharacterByMatchResponse()
    eco = await grpc.call(characters.GetDefaultCharacter, pb.GetDefaultCharacterRequest())
    assert (eco.found, eco.character_name, eco.character_type) == (True, "이코", "main")
    assert uuid.UUID(eco.character_id)


async def test_a_users_data_is_copied_page_by_page_and_removed(
    channel: wire.aio.Channel,
    characters: "CharacterServiceAsyncStub",
    db: Database,
    person: Callable[[], Person],
) -> None:
    who, stub = person(), UserDataServiceStub(channel)
    await write(db, *(grant(who.id) for _ in range(5)), grant(uuid.uuid4()))
    body = {"nickname": "시민", "district": "서울 금천구"}
    assert (await who.http.put("/api/v1/users/me/leaderboard", json=body)).status_code == 200
    copied = await exported(stub, who.id)
    kinds = [kind for kind, _ in copied]
    assert kinds == ["characters", "characters", "leaderboard", *["points"] * 5]
    assert copied[2][1]["nickname"] == "시민"
    removed = await grpc.call(stub.Purge, data.PurgeRequest(user_id=str(who.id)))
    assert removed.removed == 7
    assert (await grpc.call(stub.Purge, data.PurgeRequest(user_id=str(who.id)))).removed == 0
    assert [kind for kind, _ in await exported(stub, who.id)] == ["characters"], "이코 is everybody's"
    late = await grpc.call(characters.GetCharacterReward, scanned(user_id=str(who.id)))
    assert not late.received
    assert [kind for kind, _ in await exported(stub, who.id)] == ["characters"]


async def exported(stub: Any, user: uuid.UUID) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    cursor = ""
    while True:
        page = await grpc.call(stub.Export, data.ExportRequest(user_id=str(user), cursor=cursor))
        found += [(record.kind, json.loads(record.json)) for record in page.records]
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_a_long_ledger_is_copied_whole(channel: wire.aio.Channel, db: Database) -> None:
    user, stub = uuid.uuid4(), UserDataServiceStub(channel)
    mine = [grant(user) for _ in range(1001)]
    await write(db, *mine)
    points = [row for kind, row in await exported(stub, user) if kind == "points"]
    assert {row["job_id"] for row in points} == {str(one.job_id) for one in mine}
    assert len(points) == 1001


async def test_a_cursor_of_ones_own_making_is_refused(channel: wire.aio.Channel) -> None:
    with pytest.raises(BadRequest) as refusal:
        await exported_from(channel, "nonsense")
    assert refusal.value.code == "INVALID_CURSOR"


async def exported_from(channel: wire.aio.Channel, cursor: str) -> None:
    request = data.ExportRequest(user_id=str(uuid.uuid4()), cursor=cursor)
    await grpc.call(UserDataServiceStub(channel).Export, request)
