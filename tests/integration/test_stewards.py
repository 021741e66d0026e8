"""Stewards through the gateway: the grant of the role, their routes, and refusals of citizens."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from eco2.auth import keys, roles, service, store
from eco2.auth.main import open_services
from eco2.auth.settings import Settings, TokenSettings
from eco2.cli.main import app
from eco2.contracts.identity import guest_id
from eco2.core.postgres import Database
from eco2.knowledge.stewards.answers import Changed
from eco2.recycling import answer_store
from tests.conftest import FromStack, Person
from tests.e2e.journey import is_error
from tests.integration.test_auth_service import ME
from tests.integration.test_feedback import said, scanned

People = Callable[[], Person]
ROUTES = [
    ("GET", "/api/v1/scan/disputed"),
    ("GET", "/api/v1/scan/disputes"),
    ("GET", "/api/v1/locations/reports"),
    ("DELETE", f"/api/v1/locations/reports/{uuid.uuid4()}"),
    ("POST", "/api/v1/locations/1/retire"),
    ("POST", "/api/v1/locations/1/restore"),
    ("GET", "/api/v1/recycling/changes"),
]


@pytest.fixture
async def steward(environment: dict[str, str], person: People) -> httpx2.AsyncClient:
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]), issuer=environment["ECO2_ISSUER"]
    )
    client = person().http
    client.headers["Authorization"] = f"Bearer {keys.mint(settings, uuid.uuid4(), 'local', 'steward')}"
    return client


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_citizen_is_refused_and_nobody_is_asked_to_sign_in(person: People, method: str, path: str) -> None:
    who = person()
    assert is_error(await who.http.request(method, path), 409, "STEWARDS_ONLY")
    who.http.headers.pop("Authorization")
    assert (await who.http.request(method, path)).status_code == 401


async def test_disputes_are_read_page_by_page_without_whose_they_are(
    steward: httpx2.AsyncClient, person: People, engine: AsyncEngine
) -> None:
    people = [person() for _ in range(3)]
    jobs = [await scanned(engine, who.id, "milk_carton") for who in people]
    for number, (who, job) in enumerate(zip(people, jobs, strict=True)):
        await said(who, job, "wrong", minor_category="생수병", comment=f"아니에요 {number}")
    right = await scanned(engine, people[0].id, "milk_carton")
    await said(people[0], right, "right")
    found, cursor = [], None
    while True:
        query = {"item": "milk_carton", "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await steward.get("/api/v1/scan/disputes", params=query)).json()
        assert len(page["disputes"]) <= 2
        found += page["disputes"]
        if (cursor := page["next_cursor"]) is None:
            break
    mine = [row for row in found if row["job_id"] in {str(job) for job in jobs}]
    assert [row["comment"] for row in mine] == ["아니에요 2", "아니에요 1", "아니에요 0"]
    assert {row["meant"] for row in mine} == {"생수병"}
    assert not any(str(who.id) in str(found) for who in people)
    assert len({row["job_id"] for row in found}) == len(found)
    top = (await steward.get("/api/v1/scan/disputed", params={"limit": 100})).json()
    (carton,) = (row for row in top if row["item"] == "milk_carton")
    assert carton["wrong"] >= 3
    assert "생수병" in [one["name"] for one in carton["meant"]]
    assert is_error(await steward.get("/api/v1/scan/disputes?cursor=no"), 400, "INVALID_CURSOR")


async def test_a_place_that_is_gone_leaves_the_map_and_comes_back(
    steward: httpx2.AsyncClient, person: People, database: Database
) -> None:
    ((place,),) = await database.rows(
        """SELECT id FROM location.places WHERE retired_at IS NULL
              AND NOT EXISTS (SELECT FROM location.feedback WHERE place_id = places.id) ORDER BY id LIMIT 1"""
    )
    one, two = person(), person()
    for who in (one, two):
        sent = await who.http.post(f"/api/v1/locations/{place}/feedback", json={"kind": "gone", "comment": "없어요"})
        assert sent.status_code == 201
    page = (await steward.get("/api/v1/locations/reports", params={"kind": "gone", "limit": 1})).json()
    (newest,) = page["reports"]
    assert (newest["place_id"], newest["reports"], newest["comment"]) == (place, 2, "없어요")
    assert str(two.id) not in str(page)
    rest = await steward.get("/api/v1/locations/reports", params={"kind": "gone", "cursor": page["next_cursor"]})
    assert rest.json()["reports"][0]["place_id"] == place
    settle = f"/api/v1/locations/reports/{newest['id']}"
    assert (await steward.delete(settle)).status_code == 204
    assert is_error(await steward.delete(settle), 404, "REPORT_NOT_FOUND")
    assert (await steward.post(f"/api/v1/locations/{place}/retire")).status_code == 204
    try:
        assert (await one.http.get(f"/api/v1/locations/centers/{place}")).status_code == 404
        assert (await steward.post(f"/api/v1/locations/{place}/retire")).status_code == 404
        left = (await steward.get("/api/v1/locations/reports")).json()["reports"]
        assert place not in [row["place_id"] for row in left]
    finally:
        assert (await steward.post(f"/api/v1/locations/{place}/restore")).status_code == 204
    assert (await one.http.get(f"/api/v1/locations/centers/{place}")).status_code == 200


async def test_changed_answers_are_read_page_by_page(steward: httpx2.AsyncClient, database: Database) -> None:
    rows = [Changed(f"q{n}", "질문", "ko", "전", "지금", ["paper"], ["vinyl"], ["stream"] * (n == 0)) for n in range(3)]
    await answer_store.publish(database, "old", "before", [])
    await answer_store.publish(database, "before", "after", rows)
    first = (await steward.get("/api/v1/recycling/changes", params={"limit": 2})).json()
    assert (first["before"], first["after"], first["total"], first["worse"]) == ("before", "after", 3, 1)
    assert first["changes"] == [asdict(row) for row in rows[:2]]
    rest = (await steward.get("/api/v1/recycling/changes", params={"first": 2, "limit": 2})).json()
    assert rest["changes"] == [asdict(rows[2])]
    await database.run("DELETE FROM recycling.answer_changes")
    assert is_error(await steward.get("/api/v1/recycling/changes"), 404, "NOTHING_PUBLISHED")


async def test_a_role_is_granted_and_withdrawn_with_its_sessions(
    settings: FromStack, database: Database, environment: dict[str, str]
) -> None:
    user = uuid.uuid4()

    async def eco2(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["auth", "role", *arguments], env=environment)
        return done.exit_code, done.output

    async with open_services(settings(Settings)) as at:
        before = await service.open_session(at, ME, user, "kakao", None, uuid.uuid4())
        assert before is not None
        assert before.role == "citizen"
        assert (await eco2("grant", str(user), "--by", "the test"))[0] == 0
        assert str(user) in (await eco2("list", "--json"))[1]
        seen = await store.session(database, before.id)
        assert seen is not None
        assert seen.role == "steward", "the next refresh makes tokens of this role"
        after = await service.open_session(at, ME, user, "kakao", None, uuid.uuid4())
        assert after is not None
        assert after.role == "steward"
    code, told = await eco2("withdraw", str(user))
    assert (code, "2 sessions ended" in told) == (0, True)
    left = await database.rows("SELECT id FROM auth.sessions WHERE user_id = %(u)s AND revoked_at IS NULL", u=user)
    assert left == []
    denied = await database.rows("SELECT id FROM auth.revocations WHERE user_id = %(u)s", u=user)
    assert {row[0] for row in denied} == {before.id, after.id}
    assert (await eco2("withdraw", str(user)))[0] == 1


async def test_a_guest_gets_no_role_and_a_purged_user_keeps_none(database: Database) -> None:
    with pytest.raises(roles.GuestRole):
        await roles.grant(database, guest_id(uuid.uuid4()), "steward", "test")
    user = uuid.uuid4()
    await roles.grant(database, user, "operator", "test")
    await store.forget(database, user)
    assert user not in [row.user_id for row in await store.roles(database)]
