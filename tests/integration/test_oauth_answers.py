"""Answers of providers that are too large, packed, deep or of another form than documented: the provider is away."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import psutil
import pytest

from eco2.auth.oauth import Profile, ProviderAway, Providers
from eco2.auth.settings import ProviderSettings
from tests.redis_server import free_port, until

PROVIDERS = ("kakao", "google", "naver")
FAULTS = ("endless", "bomb", "deep", "list", "odd", "garbage", "empty")
BACK = "http://127.0.0.1/api/v1/auth/{}/callback"
VERIFIER = "v" * 64


@pytest.fixture(scope="module")
async def emulator() -> AsyncIterator[httpx2.AsyncClient]:
    port = free_port()
    command = (sys.executable, "-m", "eco2.local.emulators.oauth", "--port", str(port))
    process = await asyncio.create_subprocess_exec(*command)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def ready() -> bool:
            assert process.returncode is None
            try:
                return (await client.get("/ready")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(ready, 20)
        yield client
    process.terminate()
    await process.wait()


@pytest.fixture
async def providers(emulator: httpx2.AsyncClient) -> AsyncIterator[Providers]:
    made = Providers(ProviderSettings(oauth_emulator_url=str(emulator.base_url).rstrip("/")))
    yield made
    await made.close()


async def behave(emulator: httpx2.AsyncClient, **faults: str) -> None:
    (await emulator.post("/_control", json={"*": faults})).raise_for_status()


async def come_back(emulator: httpx2.AsyncClient, providers: Providers, provider: str) -> Profile:
    url = providers.authorization_url(provider, BACK.format(provider), "state", VERIFIER)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    answered = await emulator.post(f"/{provider}/authorize", data={**asked, "name": "하늘"})
    code = parse_qs(urlsplit(answered.headers["location"]).query)["code"][0]
    return await providers.profile_of_code(provider, BACK.format(provider), code, "state", VERIFIER)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_token_that_is_none_means_that_the_provider_is_away(
    emulator: httpx2.AsyncClient, providers: Providers, provider: str, fault: str
) -> None:
    await behave(emulator, token=fault)
    began, memory = time.monotonic(), psutil.Process().memory_info().rss
    with pytest.raises(ProviderAway):
        await come_back(emulator, providers, provider)
    assert time.monotonic() - began < 9
    assert psutil.Process().memory_info().rss - memory < 60e6


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "odd"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_profile_that_is_none_means_that_the_provider_is_away(
    emulator: httpx2.AsyncClient, providers: Providers, provider: str, fault: str
) -> None:
    await behave(emulator, profile=fault)
    began, memory = time.monotonic(), psutil.Process().memory_info().rss
    with pytest.raises(ProviderAway):
        await providers.verify(provider, "token")
    assert time.monotonic() - began < 9
    assert psutil.Process().memory_info().rss - memory < 60e6


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_of_a_profile_only_the_id_has_to_be_right(
    emulator: httpx2.AsyncClient, providers: Providers, provider: str
) -> None:
    await behave(emulator)
    documented = await come_back(emulator, providers, provider)
    assert documented.nickname == "하늘"
    await behave(emulator, profile="odd")
    assert await come_back(emulator, providers, provider) == Profile(provider, documented.provider_user_id)


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "hangs-up"])
async def test_the_emulator_ends_in_the_middle_of_an_endless_body(reads: bool) -> None:
    """Whatever its client does: an emulator that outlived its stack would keep a processor busy."""
    port = free_port()
    told = '{"*": {"profile": "endless"}}'
    command = (sys.executable, "-m", "eco2.local.emulators.oauth", "--port", str(port), "--control", told)
    process = await asyncio.create_subprocess_exec(*command)
    try:

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listens, 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /kakao/profile HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        await reader.readexactly(1_000_000)
        rest = asyncio.create_task(reader.read()) if reads else None
        if not reads:
            writer.transport.abort()
            used = psutil.Process(process.pid).cpu_times

            async def idle() -> bool:
                before = used()
                await asyncio.sleep(0.5)
                return used().user - before.user < 0.1

            await until(idle, 20)
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
        if rest is not None:
            await asyncio.wait([rest])
            rest.exception()
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
