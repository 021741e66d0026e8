"""People and their accounts, through the gateway."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.character.tables import ownerships
from eco2.contracts.grants import DEFAULT_CHARACTER
from eco2.contracts.pb import scan_pb2, user_data_pb2
from eco2.contracts.pb import users_pb2 as pb
from eco2.contracts.pb.scan_pb2_grpc import PreferencesServiceStub
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.contracts.pb.users_pb2_grpc import UsersServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest
from eco2.core.postgres import Database
from eco2.image.tables import uploads
from eco2.my.main import connect
from eco2.my.outbox import Outbox
from eco2.my.settings import Settings
from eco2.my.tables import accounts
from eco2.scan import store as scan_store
from eco2.scan import submission, waste_flow
from eco2.scan.services import Services
from eco2.scan.tables import jobs, preferences
from tests.conftest import GATEWAY_PORT, FromStack, Person
from tests.photos import jpeg
from tests.redis_server import until

if TYPE_CHECKING:
    from eco2.contracts.pb.users_pb2_grpc import UsersServiceAsyncStub

ME = "/api/v1/users/me"


SignUp = Callable[..., Awaitable[Person]]


@pytest.fixture
async def users(environment: dict[str, str]) -> AsyncIterator["UsersServiceAsyncStub"]:
    async with grpc.channel(environment["ECO2_GRPC_MY_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        yield UsersServiceStub(channel)


@pytest.fixture
async def sign_in(environment: dict[str, str], users: "UsersServiceAsyncStub") -> AsyncIterator[SignUp]:
    """Signs a user in as auth-api does, a new one or by the id of the provider."""
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]), issuer=environment["ECO2_ISSUER"]
    )
    clients: list[httpx2.AsyncClient] = []

    async def make(known_as: str | None = None, nickname: str = "초록", provider: str = "kakao") -> Person:
        known_as = known_as or uuid.uuid4().hex
        request = pb.GetOrCreateFromOAuthRequest(provider=provider, provider_user_id=known_as, nickname=nickname)
        user = uuid.UUID((await grpc.call(users.GetOrCreateFromOAuth, request)).user.id)
        token = keys.mint(settings, user, provider)
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{GATEWAY_PORT}"
        clients.append(httpx2.AsyncClient(base_url=url, headers=headers, timeout=30))
        return Person(user, token, clients[-1])

    yield make
    for client in clients:
        await client.aclose()


def is_error(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_copies_and_changes_of_one_user_are_bounded_and_the_wait_is_told(sign_in: SignUp) -> None:
    who, other = await sign_in(), await sign_in()
    exports = [await who.http.get(f"{ME}/export") for _ in range(6)]
    assert [answer.status_code for answer in exports] == [200] * 5 + [429]
    changes = [await who.http.patch(f"{ME}/preferences", json={"language": "en"}) for _ in range(31)]
    assert [answer.status_code for answer in changes] == [200] * 30 + [429]
    is_error(await who.http.patch(ME, json={"nickname": "파랑"}), 429, "TOO_MANY_REQUESTS")
    for refused in (exports[-1], changes[-1]):
        is_error(refused, 429, "TOO_MANY_REQUESTS")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await other.http.get(f"{ME}/export")).status_code == 200


# --- profile ----------------------------------------------------------------------------------------------------------


async def test_a_profile_has_what_every_client_reads(sign_in: SignUp) -> None:
    who = await sign_in(provider="naver")
    found = (await who.http.get(ME)).json()
    assert found["username"] == found["display_name"] == found["nickname"] == "초록"
    assert (found["provider"], found["phone_number"]) == ("naver", None)
    assert datetime.fromisoformat(found["last_login_at"]).tzinfo is not None


async def test_a_profile_is_changed_field_by_field(sign_in: SignUp) -> None:
    who = await sign_in()
    digits = f"010{uuid.uuid4().int % 10**8:08d}"
    answer = await who.http.patch(ME, json={"nickname": "  파랑 "})
    assert (answer.status_code, answer.json()["username"]) == (200, "파랑")
    answer = await who.http.patch(ME, json={"phone_number": f"+82 {digits[1:3]}-{digits[3:7]}-{digits[7:]}"})
    assert (answer.json()["phone_number"], answer.json()["nickname"]) == (digits, "파랑")
    assert (await who.http.get(ME)).json() == answer.json()
    assert (await who.http.patch(ME, json={"phone_number": None})).json()["phone_number"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "NO_CHANGES_PROVIDED"),
        ({"color": "green"}, "NO_CHANGES_PROVIDED"),
        ({"nickname": " "}, "VALIDATION_ERROR"),
        ({"nickname": None}, "VALIDATION_ERROR"),
        ({"nickname": "x" * 121}, "VALIDATION_ERROR"),
        ({"nickname": "a\0b"}, "VALIDATION_ERROR"),
        ({"phone_number": "12345678901"}, "INVALID_PHONE_NUMBER"),
        ({"phone_number": "0101234567"}, "INVALID_PHONE_NUMBER"),
        ({"phone_number": "010123456789"}, "INVALID_PHONE_NUMBER"),
        ({"phone_number": "٠١٠١٢٣٤٥٦٧٨"}, "INVALID_PHONE_NUMBER"),
        ({"phone_number": ""}, "INVALID_PHONE_NUMBER"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(sign_in: SignUp, body: dict[str, Any], code: str) -> None:
    who = await sign_in()
    before = (await who.http.get(ME)).json()
    is_error(await who.http.patch(ME, json=body), 422, code)
    assert (await who.http.get(ME)).json() == before


async def test_nobody_learns_which_phone_numbers_have_an_account(sign_in: SignUp) -> None:
    """Numbers are not verified: a refusal would reveal that another user has named it."""
    digits = f"010{uuid.uuid4().int % 10**8:08d}"
    first, second = await sign_in(), await sign_in()
    for who in (first, first, second):
        answer = await who.http.patch(ME, json={"phone_number": digits})
        assert (answer.status_code, answer.json()["phone_number"]) == (200, digits)


async def test_a_profile_shows_a_name_that_can_be_read(sign_in: SignUp) -> None:
    who = await sign_in()
    for nickname in ("\u3164\u3164", "초록\u200b", "관리자"):
        is_error(await who.http.patch(ME, json={"nickname": nickname}), 422, "INVALID_NICKNAME")
    blank = await sign_in(nickname="\u3164\u200b")
    assert (await blank.http.get(ME)).json()["nickname"].startswith("이코친구 ")


async def test_who_has_no_account_is_not_found(person: Callable[[], Person]) -> None:
    who = person()
    for method, path, body in (
        ("GET", ME, None),
        ("PATCH", ME, {"nickname": "x"}),
        ("DELETE", ME, None),
        ("GET", f"{ME}/preferences", None),
        ("PATCH", f"{ME}/preferences", {"language": "en"}),
        ("GET", f"{ME}/export", None),
    ):
        is_error(await who.http.request(method, path, json=body), 404, "USER_NOT_FOUND")


async def test_a_request_without_a_token_does_not_get_in(sign_in: SignUp) -> None:
    who = await sign_in()
    async with httpx2.AsyncClient(base_url=who.http.base_url) as stranger:
        for path in (ME, f"{ME}/scans", f"{ME}/export", f"{ME}/preferences", f"{ME}/characters"):
            answer = await stranger.get(path, headers={"x-user-id": str(who.id)})
            assert answer.status_code == 401


# --- characters -------------------------------------------------------------------------------------------------------


async def test_a_sign_up_grants_the_first_character_once(sign_in: SignUp, engine: AsyncEngine) -> None:
    who = await sign_in("first-" + uuid.uuid4().hex)
    rows = (await who.http.get(f"{ME}/characters")).json()
    assert [row["name"] for row in rows] == ["이코"]  # at once, before its grant has arrived
    found = select(ownerships.c.character_code, ownerships.c.source).where(ownerships.c.user_id == who.id)

    async def granted() -> bool:
        async with engine.connect() as tx:
            return (await tx.execute(found)).all() == [(DEFAULT_CHARACTER, "signup")]

    await until(granted, 2)
    rows = (await who.http.get(f"{ME}/characters")).json()
    assert [(row["name"], row["code"]) for row in rows] == [("이코", DEFAULT_CHARACTER)]
    assert (await who.http.get(f"{ME}/characters")).json() == rows


async def test_reading_characters_writes_nothing(person: Callable[[], Person], engine: AsyncEngine) -> None:
    who = person()
    assert len((await who.http.get(f"{ME}/characters")).json()) == 1
    await asyncio.sleep(0.5)
    async with engine.connect() as tx:
        assert (await tx.execute(select(ownerships).where(ownerships.c.user_id == who.id))).all() == []


async def test_ownership_is_told_by_name(sign_in: SignUp) -> None:
    who = await sign_in()
    for name, owned in (("이코", True), ("페티", False)):
        answer = await who.http.get(f"{ME}/characters/{name}/ownership")
        assert (answer.status_code, answer.json()) == (200, {"character_name": name, "owned": owned})
    is_error(await who.http.get(f"{ME}/characters/아무개/ownership"), 404, "CHARACTER_NOT_FOUND")


# --- preferences ------------------------------------------------------------------------------------------------------


async def preferred(engine: AsyncEngine, user: uuid.UUID) -> tuple[Any, ...]:
    columns = (preferences.c.language, preferences.c.district)
    async with engine.connect() as tx:
        row = (await tx.execute(select(*columns).where(preferences.c.user_id == user))).one_or_none()
    return tuple(row) if row else ()


async def test_preferences_reach_the_scans_that_follow(
    sign_in: SignUp, services: Services, engine: AsyncEngine
) -> None:
    who = await sign_in()
    assert (await who.http.get(f"{ME}/preferences")).json() == {"language": "ko", "district": None}
    answer = await who.http.patch(f"{ME}/preferences", json={"language": "en", "district": "서울 마포구"})
    assert answer.json() == (await who.http.get(f"{ME}/preferences")).json()
    assert answer.json() == {"language": "en", "district": "서울특별시 마포구"}

    async def known() -> bool:
        return await preferred(engine, who.id) == ("en", "서울특별시 마포구")

    await until(known, 1)
    job = await submission.register(services.db, who.id, None, f"scan/{uuid.uuid4().hex}.jpg", None, None)
    await scan_store.abort(services.db, job.id)
    waiting, _ = await waste_flow.prepare(services, who.id, "image/jpeg", None, None, 30)
    second = await scan_store.load(services.db, waiting)
    assert (job.language, job.district) == ("en", "서울특별시 마포구")
    said = (services.db, who.id, None, f"scan/{uuid.uuid4().hex}.jpg", None, None)
    asked = await submission.register(*said, language="ko")
    await scan_store.abort(services.db, asked.id)
    assert (asked.language, asked.district) == ("ko", "서울특별시 마포구"), "what a scan asks for wins"
    assert second is not None
    assert (second.language, second.district) == ("en", "서울특별시 마포구")
    await who.http.patch(f"{ME}/preferences", json={"district": None})

    async def cleared() -> bool:
        return await preferred(engine, who.id) == ("en", None)

    await until(cleared, 1)


async def test_preferences_that_come_late_change_nothing(environment: dict[str, str], engine: AsyncEngine) -> None:
    user = uuid.uuid4()
    async with grpc.channel(environment["ECO2_GRPC_SCAN_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        scan_api = PreferencesServiceStub(channel)
        for version, language in ((2, "en"), (1, "ko"), (2, "ko")):
            request = scan_pb2.PutRequest(user_id=str(user), version=version, language=language)
            await grpc.call(scan_api.Put, request)
            assert await preferred(engine, user) == ("en", None)
        with pytest.raises(BadRequest) as caught:
            await grpc.call(scan_api.Put, scan_pb2.PutRequest(user_id=str(user), version=3, language="fr"))
        assert caught.value.code == "INVALID_LANGUAGE"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "NO_CHANGES_PROVIDED"),
        ({"language": "fr"}, "VALIDATION_ERROR"),
        ({"language": None}, "VALIDATION_ERROR"),
        ({"district": "../etc"}, "UNKNOWN_DISTRICT"),
        ({"district": ""}, "UNKNOWN_DISTRICT"),
        ({"district": "중구"}, "UNKNOWN_DISTRICT"),
        ({"district": 7}, "VALIDATION_ERROR"),
    ],
)
async def test_preferences_that_make_no_sense_are_refused(sign_in: SignUp, body: dict[str, Any], code: str) -> None:
    is_error(await (await sign_in()).http.patch(f"{ME}/preferences", json=body), 422, code)


# --- leaving ----------------------------------------------------------------------------------------------------------


async def test_who_left_is_gone_and_who_comes_back_finds_everything(sign_in: SignUp) -> None:
    known_as = uuid.uuid4().hex
    who = await sign_in(known_as)
    await who.http.patch(ME, json={"nickname": "남아 있는 이름"})
    assert (await who.http.delete(ME)).status_code == 204
    is_error(await who.http.get(ME), 404, "USER_NOT_FOUND")
    is_error(await who.http.delete(ME), 404, "USER_NOT_FOUND")
    back = await sign_in(known_as, nickname="새 이름")
    assert back.id == who.id
    assert (await back.http.get(ME)).json()["nickname"] == "남아 있는 이름"


@pytest.fixture
async def purging(settings: FromStack, db: Database) -> AsyncIterator[Outbox]:
    """The outbox of a my-api that waits an hour before it purges, on the servers of the stack."""
    async with connect(settings(Settings)) as others:
        yield Outbox(db, others, timedelta(hours=1), timedelta(seconds=1))


async def uploaded(who: Person) -> str:
    ticket = (
        await who.http.post("/api/v1/images/scan", json={"filename": "a.jpg", "content_type": "image/jpeg"})
    ).json()
    async with httpx2.AsyncClient() as plain:
        done = await plain.put(ticket["upload_url"], content=jpeg(), headers={"Content-Type": "image/jpeg"})
    assert done.status_code == 200
    return str(ticket["cdn_url"])


async def scanned(who: Person) -> tuple[str, str]:
    """(job id, URL of the photo) of a finished scan."""
    url = await uploaded(who)
    answer = await who.http.post("/api/v1/scan/classify", json={"image_url": url})
    assert answer.status_code == 200, answer.text
    return answer.json()["task_id"], url


async def rows_of(engine: AsyncEngine, user: uuid.UUID) -> dict[str, int]:
    tables = {"jobs": jobs, "uploads": uploads, "ownerships": ownerships, "preferences": preferences}
    async with engine.connect() as tx:
        found = {name: (await tx.execute(select(t).where(t.c.user_id == user))).all() for name, t in tables.items()}
        found["accounts"] = (await tx.execute(select(accounts).where(accounts.c.id == user))).all()
    return {name: len(rows) for name, rows in found.items() if rows}


async def test_a_purge_removes_the_user_from_every_service_and_nobody_else(
    sign_in: SignUp, purging: Outbox, engine: AsyncEngine, services: Services
) -> None:
    known_as = uuid.uuid4().hex
    leaving, staying = await sign_in(known_as), await sign_in()
    photos = []
    for who in (leaving, staying):
        photos.append((await scanned(who))[1])
        await who.http.patch(f"{ME}/preferences", json={"language": "en"})

    async def all_there() -> bool:
        return all([len(await rows_of(engine, who.id)) == 5 for who in (leaving, staying)])

    await until(all_there, 5)
    before = await rows_of(engine, staying.id)
    await leaving.http.delete(ME)
    await purging.purge()
    assert len(await rows_of(engine, leaving.id)) == 5  # its hour is not over
    async with engine.begin() as tx:
        long_ago = update(accounts).where(accounts.c.id == leaving.id)
        await tx.execute(long_ago.values(deleted_at=accounts.c.deleted_at - timedelta(hours=2)))

    async def gone() -> bool:
        await purging.purge()
        await purging.deliver("purge")
        return await rows_of(engine, leaving.id) == {}

    await until(gone, 10)
    key = [services.storage.key_of(url) for url in photos]
    assert await services.storage.find(str(key[0])) is None
    assert await services.storage.public.head(str(key[1])) is not None
    assert await rows_of(engine, staying.id) == before
    again = await sign_in(known_as)
    assert again.id != leaving.id


# --- export -----------------------------------------------------------------------------------------------------------


async def test_an_export_has_everything_of_the_user(sign_in: SignUp) -> None:
    who = await sign_in(nickname="내보내기")
    job, url = await scanned(who)
    await uploaded(who)
    answer = await who.http.get(f"{ME}/export")
    assert answer.headers["content-type"] == "application/json"
    assert "attachment" in answer.headers["content-disposition"]
    found = json.loads(answer.content)
    assert found["account"]["id"] == str(who.id)
    assert found["account"]["nickname"] == "내보내기"
    assert [row["provider"] for row in found["account"]["social_accounts"]] == ["kakao"]
    (scan,) = found["scans"]
    assert (scan["job_id"], scan["image_url"], scan["status"]) == (job, url, "completed")
    assert (scan["outcome"], scan["result"]) == ("unsure", None)
    assert scan["error"]
    assert len(found["uploads"]) == 2
    assert "이코" in [row["name"] for row in found["characters"]]


async def test_an_export_of_many_pages_is_whole(sign_in: SignUp, services: Services) -> None:
    who = await sign_in()
    made = []
    for number in range(123):
        key = f"scan/{uuid.uuid4().hex}.jpg"
        job = await submission.register(services.db, who.id, str(number), key, f"말 {number}", None)
        await scan_store.fail(services.db, job.id, "TEST", "시험", "a test")
        await scan_store.announced(services.db, {job.id: datetime.now(UTC)})
        made.append(str(job.id))
    found = json.loads((await who.http.get(f"{ME}/export")).content)
    assert [row["job_id"] for row in found["scans"]] == made
    assert found["scans"][7]["user_input"] == "말 7"


@pytest.mark.parametrize("name", ["SCAN", "IMAGE"])  # the others have one page
async def test_a_copy_of_nobody_or_from_nowhere_is_refused(environment: dict[str, str], name: str) -> None:
    async with grpc.channel(environment[f"ECO2_GRPC_{name}_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        data = UserDataServiceStub(channel)
        user = str(uuid.uuid4())
        assert not (await grpc.call(data.Export, user_data_pb2.ExportRequest(user_id=user))).records
        assert (await grpc.call(data.Purge, user_data_pb2.PurgeRequest(user_id=user))).removed == 0
        for request, code in (
            (user_data_pb2.ExportRequest(user_id="me"), "INVALID_USER_ID"),
            (user_data_pb2.ExportRequest(user_id=user, cursor="nonsense"), "INVALID_CURSOR"),
        ):
            with pytest.raises(BadRequest) as caught:
                await grpc.call(data.Export, request)
            assert caught.value.code == code
