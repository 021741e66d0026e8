"""A native app signs in: its library (Authlib stands for it), the system browser, and apps that steal."""

import base64
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.auth.tables import login_audits, sessions
from eco2.core.redis import connect
from eco2.core.settings import CacheSettings
from eco2.local.stack import Stack
from tests.browser import AUTH, Browser, error_of
from tests.conftest import FromStack

TOKEN = f"{AUTH}/token"
REDIRECT = "http://127.0.0.1:49152/signed-in"


@dataclass
class App:
    """A native app of which only the network is left: it does not have to listen to read where the browser ends."""

    client: httpx2.AsyncClient
    redirect_uri: str = REDIRECT

    def __post_init__(self) -> None:
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(16)

    def start(self, provider: str = "kakao", **query: str) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "response_type": "code",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return str(httpx2.URL(f"{AUTH}/{provider}/app", params={**asked, **query}))

    async def tokens(self, **form: str) -> httpx2.Response:
        return await self.client.post(TOKEN, data=form)

    async def exchange(self, code: str, **other: str) -> httpx2.Response:
        form = {"code": code, "code_verifier": self.verifier, "redirect_uri": self.redirect_uri}
        return await self.tokens(grant_type="authorization_code", **{**form, **other})

    async def me(self, access_token: str) -> int:
        headers = {"Authorization": f"Bearer {access_token}"}
        return (await self.client.get("/api/v1/authz/ping", headers=headers)).status_code


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield client


@pytest.fixture
def app(http: httpx2.AsyncClient) -> App:
    return App(http)


@pytest.fixture
async def cache(settings: FromStack) -> AsyncIterator[Redis]:
    client = connect(settings(CacheSettings).redis_cache_url)
    yield client
    await client.aclose()


async def come_back(app: App, browser: Browser | None = None, **answer: str) -> httpx2.Response:
    """The system browser, from the app to the redirect that leads back to it."""
    browser = browser or Browser(app.client)
    page = await browser.navigate(app.start())
    assert page.status_code == 302, page.text
    back = await browser.consent(page.headers["location"], **(answer or {"name": f"새벽-{uuid.uuid4().hex[:12]}"}))
    return await browser.navigate(back)


def answer_of(response: httpx2.Response) -> dict[str, str]:
    """Parameters that the app gets."""
    location = response.headers["location"]
    assert location.partition("?")[0] == REDIRECT
    return {name: value for name, (value,) in parse_qs(urlsplit(location).query).items()}


async def code_of(app: App) -> str:
    return answer_of(await come_back(app))["code"]


@pytest.mark.parametrize("provider", ["kakao", "google", "naver"])
async def test_a_library_for_oauth_signs_in_refreshes_and_signs_out(http: httpx2.AsyncClient, provider: str) -> None:
    public = str(http.base_url).rstrip("/")
    browser = Browser(http)
    async with AsyncOAuth2Client(
        "app",
        token_endpoint_auth_method="none",
        redirect_uri="kr.eco2.app:/signed-in",
        code_challenge_method="S256",
        trust_env=False,
    ) as library:
        verifier = generate_token(64)
        start, state = library.create_authorization_url(f"{public}{AUTH}/{provider}/app", code_verifier=verifier)
        page = await browser.navigate(start)
        back = await browser.consent(page.headers["location"], name=f"새벽-{uuid.uuid4().hex[:12]}")
        end = await browser.navigate(back)
        assert end.headers["location"].startswith("kr.eco2.app:/signed-in?code=")
        first = await library.fetch_token(
            f"{public}{TOKEN}", authorization_response=end.headers["location"], state=state, code_verifier=verifier
        )
        assert (first["token_type"], first["expires_in"]) == ("Bearer", 10800)
        assert (await library.get(f"{public}/api/v1/users/me")).status_code == 200
        second = await library.refresh_token(f"{public}{TOKEN}")
        assert second["refresh_token"] != first["refresh_token"]
        assert (await library.get(f"{public}/api/v1/authz/ping")).status_code == 200
        assert (await library.post(f"{public}{AUTH}/logout")).json()["data"]["message"] == "Signed out."
        with pytest.raises(OAuthError, match="invalid_grant"):
            await library.refresh_token(f"{public}{TOKEN}", refresh_token=second["refresh_token"])


async def test_the_browser_gets_no_session_of_its_own(app: App) -> None:
    browser = Browser(app.client)
    response = await come_back(app, browser)
    assert (response.status_code, response.headers["cache-control"]) == (302, "no-store")
    assert answer_of(response)["state"] == app.state
    assert browser.cookies.keys() == {"s_signin"}


async def test_the_session_is_that_of_the_app(app: App, engine: AsyncEngine) -> None:
    response = await app.exchange(await code_of(app))
    assert response.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
    (row,) = (await app.client.get(f"{AUTH}/sessions", headers=headers)).json()
    assert (row["current"], row["provider"]) == (True, "kakao")
    async with engine.connect() as tx:
        audited = select(login_audits.c.outcome).where(login_audits.c.session_id == uuid.UUID(row["id"]))
        assert (await tx.execute(audited)).scalar_one() == "signed_in"


async def test_leaving_the_consent_page_leads_back_to_the_app(app: App) -> None:
    answer = answer_of(await come_back(app, cancel="1"))
    assert answer == {"error": "access_denied", "state": app.state}


async def test_a_code_counts_once_and_its_second_use_ends_the_session(app: App, engine: AsyncEngine) -> None:
    code = await code_of(app)
    first = (await app.exchange(code)).json()
    assert await app.me(first["access_token"]) == 200
    again = await app.exchange(code)
    assert (again.status_code, again.json()["code"], again.json()["error"]) == (400, "INVALID_GRANT", "invalid_grant")
    refreshed = await app.tokens(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (refreshed.status_code, refreshed.json()["code"]) == (401, "TOKEN_REVOKED")
    async with engine.connect() as tx:
        reasons = await tx.execute(select(sessions.c.revoked_for).where(sessions.c.revoked_for == "code_reuse"))
        assert reasons.first()


@pytest.mark.parametrize(
    "other",
    [
        {"code_verifier": secrets.token_urlsafe(48)},
        {"redirect_uri": "http://127.0.0.1:49153/signed-in"},
        {"redirect_uri": "kr.eco2.app:/signed-in"},
    ],
    ids=["verifier", "port", "redirect"],
)
async def test_a_stolen_code_is_worth_nothing_and_used_up(app: App, other: dict[str, str]) -> None:
    code = await code_of(app)
    for answer in (await app.exchange(code, **other), await app.exchange(code)):
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_GRANT")


async def test_a_code_lives_for_a_minute_and_is_not_kept_in_clear(app: App, cache: Redis) -> None:
    code = await code_of(app)
    key = f"auth:grant:{hashlib.sha256(code.encode()).hexdigest()}"
    assert 50 < await cache.ttl(key) <= 60
    await cache.expire(key, 0)
    assert (await app.exchange(code)).json()["code"] == "INVALID_GRANT"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://evil.example/signed-in",
        "kr.eco2.app:/signed-in/",
        "kr.eco2.app:/other",
        "kr.evil.app:/signed-in",
        "http://localhost:49152/signed-in",
        "http://127.0.0.1:49152/other",
        "http://127.0.0.1:49152@evil.example/signed-in",
        "http://127.0.0.1.evil.example:80/signed-in",
        "https://127.0.0.1:49152/signed-in",
        "javascript:alert(1)",
    ],
)
async def test_only_known_apps_get_codes(app: App, redirect_uri: str) -> None:
    response = await app.client.get(app.start(redirect_uri=redirect_uri))
    assert (response.status_code, response.json()["code"]) == (400, "APP_REDIRECT_NOT_ALLOWED")
    assert "location" not in response.headers


@pytest.mark.parametrize(
    "query",
    [{"code_challenge": ""}, {"code_challenge_method": "plain"}, {"response_type": "token"}, {"state": "short"}],
    ids=str,
)
async def test_no_sign_in_begins_without_proof_and_state(app: App, query: dict[str, str]) -> None:
    assert (await app.client.get(app.start(**query))).status_code == 422


async def test_a_sign_in_that_another_browser_began_does_not_end_in_the_app(app: App) -> None:
    victim, attacker = Browser(app.client), Browser(app.client)
    page = await attacker.navigate(app.start())
    back = await attacker.consent(page.headers["location"], name="박산")
    response = await victim.navigate(back)
    assert error_of(response.headers["location"]) == "invalid_state"


async def test_a_callback_that_comes_twice_brings_the_same_code(app: App) -> None:
    browser = Browser(app.client)
    page = await browser.navigate(app.start())
    back = await browser.consent(page.headers["location"], name="박산")
    first, second = answer_of(await browser.navigate(back)), answer_of(await browser.navigate(back))
    assert first == second
    assert (await app.exchange(first["code"])).status_code == 200


async def test_a_provider_that_knows_the_user_asks_again_where_any_app_may_listen(app: App) -> None:
    for provider, parameter in (("kakao", "select_account"), ("google", "consent"), ("naver", "reprompt")):
        page = await Browser(app.client).navigate(app.start(provider))
        assert parameter in str(parse_qs(urlsplit(page.headers["location"]).query))


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "authorization_code", "code": "x"},
        {"grant_type": "refresh_token"},
        {"grant_type": "authorization_code", "refresh_token": "x"},
    ],
    ids=str,
)
async def test_what_is_missing_is_said(app: App, form: dict[str, str]) -> None:
    answer = await app.tokens(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_an_access_token_refreshes_nothing_and_cookies_play_no_part(app: App) -> None:
    first = (await app.exchange(await code_of(app))).json()
    wrong = await app.tokens(grant_type="refresh_token", refresh_token=first["access_token"])
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    headers = {"Cookie": f"s_refresh={first['refresh_token']}"}
    bare = await app.client.post(TOKEN, data={"grant_type": "refresh_token"}, headers=headers)
    assert (bare.status_code, bare.json()["code"]) == (400, "INVALID_REQUEST")
