"""`oauth.verify`: ordered through `q.api`, done by a real api-worker at the emulated providers, told once."""

import asyncio
import base64
import hashlib
import os
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aio_pika
import httpx2
import psutil
import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from eco2.auth import verification
from eco2.auth.oauth import Providers
from eco2.auth.settings import ProviderSettings
from eco2.cli.main import app
from eco2.contracts.queues import TASKS_EXCHANGE
from eco2.contracts.tasks import OAUTH_VERIFY
from eco2.core import redis
from eco2.jobs import dead_letters
from eco2.jobs.dead_letters import Urls
from eco2.messaging.broker import BrokerDown, Publisher
from tests.browser import Browser
from tests.conftest import FromStack
from tests.redis_server import free_port, until

Env = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
async def worker(environment: Env) -> AsyncIterator[int]:
    port = free_port()
    own = {**os.environ, **environment, "ECO2_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "eco2.run", "api-worker", env=own)
    async with httpx2.AsyncClient() as client:

        async def ready() -> bool:
            assert process.returncode is None
            try:
                return (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(ready, 30)
    yield process.pid
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.fixture
def urls(environment: Env) -> Urls:
    return Urls(environment["ECO2_BROKER_URL"], environment["ECO2_TASKS_BROKER_URL"])


@pytest.fixture
async def cache(environment: Env) -> AsyncIterator[Redis]:
    async with redis.connect(environment["ECO2_REDIS_CACHE_URL"], decode_responses=False) as cache:
        yield cache


@pytest.fixture
async def publisher(environment: Env) -> AsyncIterator[Publisher]:
    publisher = Publisher(environment["ECO2_TASKS_BROKER_URL"])
    yield publisher
    await publisher.close()


@pytest.fixture
async def providers(settings: FromStack) -> AsyncIterator[Providers]:
    providers = Providers(settings(ProviderSettings))
    yield providers
    await providers.close()


@pytest.fixture
async def emulator(environment: Env) -> AsyncIterator[httpx2.AsyncClient]:
    """The providers' control, put back afterwards."""
    async with httpx2.AsyncClient(base_url=environment["ECO2_OAUTH_EMULATOR_URL"]) as client:
        yield client
        (await client.post("/_control", json={})).raise_for_status()


@pytest.mark.parametrize(
    "strange", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}], ids=str
)
async def test_a_page_of_another_site_changes_no_provider(
    emulator: httpx2.AsyncClient, strange: dict[str, str]
) -> None:
    for path in ("/_control", "/kakao/authorize", "/kakao/token"):
        assert (await emulator.post(path, content="{}", headers=strange)).status_code == 403
    assert (await emulator.get("/_calls", headers=strange)).status_code == 403
    own = {"Origin": f"http://{emulator.base_url.netloc.decode()}"}
    assert (await emulator.post("/_control", json={}, headers=own)).status_code == 200


async def profiles_asked(emulator: httpx2.AsyncClient, provider: str) -> int:
    return int((await emulator.get("/_calls")).json().get(f"{provider} profile", 0))


async def token_of(environment: Env, provider: str, name: str) -> str:
    """A token straight from the emulated provider, as an app of the provider's own kit has one."""
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    base = f"{environment['ECO2_OAUTH_EMULATOR_URL']}/{provider}"
    asked = {
        "client_id": "app",
        "redirect_uri": f"http://app.example/api/v1/auth/{provider}/callback",
        "state": "s",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    async with httpx2.AsyncClient() as client:
        back = await Browser(client).consent(f"{base}/authorize?{urlencode(asked)}", name=name, email="a@example.com")
        code = parse_qs(urlsplit(back).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        answer = await client.post(f"{base}/token", data={**asked, **form})
    return str(answer.json()["access_token"])


@pytest.mark.parametrize("provider", ["kakao", "google", "naver"])
async def test_a_token_tells_whose_it_is(environment: Env, cache: Redis, publisher: Publisher, provider: str) -> None:
    name = f"나리-{uuid.uuid4().hex[:8]}"
    number = await verification.order(cache, publisher, provider, await token_of(environment, provider, name))
    told = await verification.outcome(cache, number, 20)
    assert told.status == "verified"
    found = told.profile
    assert found is not None
    assert (found.provider, found.nickname, found.email) == (provider, name, "a@example.com")
    assert await cache.exists(verification._ticket(number)) == 0
    assert 0 < await cache.ttl(verification._outcome(number)) <= verification.TICKET_SECONDS


async def test_a_token_of_nobody_or_of_another_provider_is_refused(
    environment: Env, cache: Redis, publisher: Publisher
) -> None:
    of_google = await token_of(environment, "google", "나리")
    for provider, token in (("google", "made-up"), ("kakao", of_google)):
        told = await verification.outcome(cache, await verification.order(cache, publisher, provider, token), 20)
        assert (told.status, told.profile) == ("refused", None)


async def test_a_provider_that_is_away_is_asked_again_and_then_told(
    cache: Redis, publisher: Publisher, emulator: httpx2.AsyncClient
) -> None:
    await emulator.post("/_control", json={"naver": {"profile": "error"}})
    before = await profiles_asked(emulator, "naver")
    told = await verification.outcome(cache, await verification.order(cache, publisher, "naver", "some-token"), 30)
    assert told.status == "away"
    assert await profiles_asked(emulator, "naver") == before + len(verification.PAUSES) + 1


async def test_a_provider_that_comes_back_in_time_is_no_failure(
    environment: Env, cache: Redis, publisher: Publisher, emulator: httpx2.AsyncClient
) -> None:
    token = await token_of(environment, "naver", "하늘")
    await emulator.post("/_control", json={"naver": {"profile": "error"}})
    before = await profiles_asked(emulator, "naver")
    number = await verification.order(cache, publisher, "naver", token)

    async def asked() -> bool:
        return await profiles_asked(emulator, "naver") > before

    await until(asked)
    await emulator.post("/_control", json={})
    assert (await verification.outcome(cache, number, 20)).status == "verified"


async def test_a_message_that_comes_again_asks_the_provider_no_second_time(
    environment: Env, cache: Redis, publisher: Publisher, providers: Providers, emulator: httpx2.AsyncClient
) -> None:
    number = await verification.order(cache, publisher, "google", await token_of(environment, "google", "다시"))
    told = await verification.outcome(cache, number, 20)
    before = await profiles_asked(emulator, "google")
    await verification.perform(cache, providers, number)
    assert await verification.outcome(cache, number, 1) == told
    assert await profiles_asked(emulator, "google") == before


async def test_a_message_that_comes_after_its_time_asks_nothing(
    cache: Redis, providers: Providers, emulator: httpx2.AsyncClient
) -> None:
    before = (await emulator.get("/_calls")).json()
    number = str(uuid.uuid4())
    await verification.perform(cache, providers, number)
    assert (await emulator.get("/_calls")).json() == before
    with pytest.raises(verification.NotVerified):
        await verification.outcome(cache, number, 0.2)


async def test_no_token_gets_into_a_message(environment: Env, cache: Redis, publisher: Publisher) -> None:
    secret = f"secret-{uuid.uuid4().hex}"
    async with await aio_pika.connect(environment["ECO2_TASKS_BROKER_URL"]) as connection:
        channel = await connection.channel()
        tap = await channel.declare_queue(exclusive=True)
        await tap.bind(TASKS_EXCHANGE, OAUTH_VERIFY.routing_key)
        number = await verification.order(cache, publisher, "google", secret)
        async with asyncio.timeout(10):
            while (message := await tap.get(no_ack=True, fail=False)) is None:
                await asyncio.sleep(0.05)
    assert number in message.body.decode()
    assert message.priority == OAUTH_VERIFY.priority
    assert secret not in message.body.decode() + str(message.headers)
    assert (await verification.outcome(cache, number, 20)).status == "refused"


async def test_without_a_broker_nothing_is_left_behind(cache: Redis) -> None:
    nowhere = Publisher(f"amqp://a:b@127.0.0.1:{free_port()}/tasks")
    before = [key async for key in cache.scan_iter("auth:verify:*")]
    with pytest.raises(BrokerDown):
        await verification.order(cache, nowhere, "kakao", "token")
    assert [key async for key in cache.scan_iter("auth:verify:*")] == before


@pytest.mark.parametrize(
    ("provider", "token", "error"),
    [
        ("myspace", "t", verification.UnknownProvider),
        ("kakao", "", verification.NoToken),
        ("kakao", "t" * 4097, verification.NoToken),
        ("kakao", "two\nlines", verification.NoToken),
        ("kakao", "토큰", verification.NoToken),
    ],
)
async def test_what_cannot_be_asked_is_said_at_once(
    cache: Redis, publisher: Publisher, provider: str, token: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await verification.order(cache, publisher, provider, token)


async def test_a_broken_ticket_becomes_a_dead_letter_and_holds_up_nothing(
    environment: Env, cache: Redis, publisher: Publisher, urls: Urls
) -> None:
    number = str(uuid.uuid4())
    await cache.set(verification._ticket(number), b'{"access_token": "a-secret", not json', ex=60)
    await publisher.send_task(TASKS_EXCHANGE, OAUTH_VERIFY.routing_key, OAUTH_VERIFY.name, number)

    async def died() -> bool:
        return any(one.argument == number for one in await dead_letters.listed(urls))

    await until(died, 20)
    (letter,) = [one for one in await dead_letters.listed(urls) if one.argument == number]
    assert "stored Ticket" in str(letter.error)
    assert "secret" not in str(letter.error)
    await dead_letters.settle(urls, [letter.id], everything=False, again=False)
    other = await verification.order(cache, publisher, "google", "made-up")
    assert (await verification.outcome(cache, other, 20)).status == "refused"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"id": "x", "timelimit": 5},
        {"id": "x", "timelimit": "soon", "eta": 7},
        {"id": "x", "compression": "zlib"},
        {"id": "x", "compression": "none such"},
    ],
    ids=str,
)
async def test_a_message_that_is_no_task_ends_nobody(
    environment: Env, cache: Redis, publisher: Publisher, urls: Urls, worker: int, headers: dict[str, Any]
) -> None:
    """Celery by itself ends the worker that gets one, and the next one that does."""
    argument = uuid.uuid4().hex
    async with await aio_pika.connect(environment["ECO2_TASKS_BROKER_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange(TASKS_EXCHANGE, ensure=False)
        body = f'[["{argument}"], {{}}, {{}}]'.encode()
        message = aio_pika.Message(
            body, headers={"task": OAUTH_VERIFY.name, **headers}, content_type="application/json", message_id=argument
        )
        await exchange.publish(message, OAUTH_VERIFY.routing_key)

    async def died() -> bool:
        return any(one.id == argument for one in await dead_letters.listed(urls))

    await until(died, 20)
    await dead_letters.settle(urls, [argument], everything=False, again=False)
    assert psutil.pid_exists(worker)
    other = await verification.order(cache, publisher, "google", "made-up")
    assert (await verification.outcome(cache, other, 20)).status == "refused"


async def test_the_command_says_whose_a_token_is(environment: Env) -> None:
    token = await token_of(environment, "kakao", "바다")

    def run(*arguments: str, said: str = token) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["auth", "verify", *arguments], input=f"{said}\n", env=environment)
        return done.exit_code, done.output

    code, shown = await asyncio.to_thread(run, "kakao")
    assert code == 0
    assert "바다" in shown
    assert token not in shown
    code, shown = await asyncio.to_thread(lambda: run("kakao", said="made-up"))
    assert code == 1
    assert "refused" in shown
    code, shown = await asyncio.to_thread(run, "myspace")
    assert code == 1
    assert "kakao, google, naver" in shown
