"""The journey of a guest through the edge: a scan without an account, then a sign-in, after which the scan is mine."""

import uuid
from collections.abc import AsyncIterator, Callable

import httpx2
import jwt
import pytest

from eco2.contracts.identity import ACCESS_COOKIE
from eco2.local.stack import Stack
from tests import photos
from tests.browser import Browser
from tests.conftest import PAID_MODEL
from tests.e2e.public_client import RESULT_PAGE, Json, PublicClient
from tests.e2e.test_llm import emulator  # noqa: F401 - a fixture: sees a milk carton in every photo
from tests.redis_server import until

SCANS = "/api/v1/users/me/scans"


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Callable[[], PublicClient]]:
    """Makes clients that have never been here."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as http:
        yield lambda: PublicClient(Browser(http))


@pytest.fixture
async def guest(client: Callable[[], PublicClient]) -> PublicClient:
    one = client()
    await one.browser.become_guest()
    return one


def somebody() -> str:
    return f"새벽-{uuid.uuid4().hex[:12]}"


async def scans(one: PublicClient) -> list[Json]:
    answer = await one.browser.request("GET", SCANS)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["scans"])


async def has_scans(one: PublicClient, number: int) -> None:
    """Return when the claims have arrived."""

    async def arrived() -> bool:
        return len(await scans(one)) == number

    await until(arrived, 30)


async def answered(one: PublicClient) -> Json:
    """A scan that the paid model is sure of."""
    url = await one.upload(photos.jpeg(440, 300))
    body = {"image_url": url, "model": PAID_MODEL}
    answer = await one.browser.request("POST", "/api/v1/scan/classify", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outcome"] == "answered"
    return dict(answer.json())


@pytest.mark.usefixtures("emulator")
async def test_a_scan_without_an_account_is_mine_after_the_sign_in(guest: PublicClient) -> None:
    assert (await guest.scan(photos.jpeg(400, 300), "종이 우유팩이에요")).route == RESULT_PAGE
    job = (await answered(guest))["task_id"]
    before = {row["job_id"]: row for row in await scans(guest)}[job]
    feedback = f"/api/v1/scan/{job}/feedback"
    said = await guest.browser.request("POST", feedback, json={"verdict": "right"})
    assert said.status_code == 200, said.text
    held = guest.browser.cookies[ACCESS_COOKIE][0]

    await guest.browser.sign_in("kakao", name=somebody())
    assert (await guest.browser.request("GET", "/api/v1/users/me")).json()["role"] == "citizen"
    await has_scans(guest, 2)

    result = await guest.browser.request("GET", before["result_url"])
    assert result.json()["status"] == "completed"
    assert (await guest.browser.request("GET", feedback)).json()["verdict"] == "right"
    old = {"Authorization": f"Bearer {held}"}

    async def is_out() -> bool:
        return (await guest.browser.client.get(SCANS, headers=old)).status_code == 403

    await until(is_out, 10)

    async def shown() -> Json:
        return {row["job_id"]: row for row in await scans(guest)}[job]

    async def has_own_photo() -> bool:
        """Under a key of its own: the one that the guest had leads nowhere."""
        now = await shown()
        http = guest.browser.client
        return now["image_url"] != before["image_url"] and (await http.get(before["image_url"])).status_code == 404

    await until(has_own_photo, 30)
    now = await shown()
    assert (await guest.browser.client.get(now["image_url"])).status_code == 200
    again = await guest.browser.request("POST", "/api/v1/scan", json={"image_url": now["image_url"]})
    assert again.status_code == 200, "the photo is the user's, so it can be scanned again"


async def test_an_account_that_exists_takes_the_scans_of_two_browsers(client: Callable[[], PublicClient]) -> None:
    name = somebody()
    for number in (1, 2):
        one = client()
        await one.browser.become_guest()
        await one.scan(photos.jpeg(400, 300 + number), "종이 우유팩이에요")
        await one.browser.sign_in("google", name=name)
        await has_scans(one, number)


async def test_what_a_guest_has_goes_to_who_signs_in_first(
    guest: PublicClient, client: Callable[[], PublicClient]
) -> None:
    """The cookies were copied into another browser, which signs in as another user."""
    await guest.scan(photos.jpeg(410, 300), "종이 우유팩이에요")
    thief = client()
    thief.browser.cookies = dict(guest.browser.cookies)
    await guest.browser.sign_in("kakao", name=somebody())
    await has_scans(guest, 1)
    await thief.browser.sign_in("kakao", name=somebody())
    assert await scans(thief) == []
    assert len(await scans(guest)) == 1


@pytest.mark.parametrize("role", ["guest", "citizen"])
async def test_a_forged_token_claims_nothing(
    guest: PublicClient, client: Callable[[], PublicClient], role: str
) -> None:
    """An attacker who knows the ids of a guest, but has none of its tokens."""
    await guest.scan(photos.jpeg(420, 300), "종이 우유팩이에요")
    claims = jwt.decode(guest.browser.access, options={"verify_signature": False})
    thief = client()
    forged = jwt.encode({**claims, "role": role}, "k" * 32, headers={"kid": "x"})
    thief.browser.cookies[ACCESS_COOKIE] = (forged, "/")
    await thief.browser.sign_in("kakao", name=somebody())
    assert await scans(thief) == []
    assert len(await scans(guest)) == 1


async def test_the_scans_of_somebody_who_is_signed_in_are_nobody_elses(client: Callable[[], PublicClient]) -> None:
    one = client()
    await one.browser.sign_in("kakao", name=somebody())
    await one.scan(photos.jpeg(430, 300), "종이 우유팩이에요")
    await one.browser.sign_in("naver", name=somebody())
    assert await scans(one) == []


async def test_a_new_user_keeps_the_language_of_the_guest(guest: PublicClient) -> None:
    path = "/api/v1/users/me/preferences"
    await guest.browser.request("PATCH", path, json={"language": "en", "district": "서울 마포구"})
    await guest.browser.sign_in("kakao", name=somebody())
    assert (await guest.browser.request("GET", path)).json() == {"language": "en", "district": "서울특별시 마포구"}


@pytest.mark.usefixtures("emulator")
async def test_a_guest_earns_nothing_and_the_user_does(guest: PublicClient) -> None:
    assert (await answered(guest))["reward"] is None
    await guest.browser.sign_in("kakao", name=somebody())
    assert (await answered(guest))["reward"] is not None
