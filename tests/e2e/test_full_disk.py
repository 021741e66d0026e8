"""The disk of a whole stack fills up under load; and files are spoilt, as a disk that was full leaves them."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.local import config, disk, repair, state
from eco2.local.config import Layout, LocalError
from eco2.local.stack import Stack
from eco2.processes import PROCESSES
from tests import photos, small_disk
from tests.conftest import Person
from tests.e2e import journey
from tests.redis_server import until

pytestmark = pytest.mark.slow

PORTS = 11500
SIZE = 600 * small_disk.MB
WORKERS = {"scan-worker", "ai-worker"}
EVERYTHING = {row.name for row in PROCESSES}
FULL_SECONDS = 20


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path("/var/tmp") / f"eco2-small-disk-{uuid.uuid4().hex[:8]}"
    try:
        with small_disk.mounted(folder, SIZE):
            yield folder / "home"
    finally:
        folder.rmdir()


def stack(home: Path, only: set[str] = EVERYTHING) -> Stack:
    return Stack(home, port_base=PORTS, gateway_port=PORTS + 80, only=only)


@contextlib.asynccontextmanager
async def citizen(at: Layout) -> AsyncIterator[Person]:
    user = uuid.uuid4()
    tokens = TokenSettings(signing_keys_dir=at.folder("keys"), issuer=config.issuer(at))
    token = keys.mint(tokens, user, "local")
    async with httpx2.AsyncClient(
        base_url=at.public_url, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as http:
        yield Person(user, token, http)


def photo(seed: int) -> bytes:
    return photos.encoded(photos.picture(640, 480, seed=seed), "JPEG")


async def flood(broker_url: str) -> None:
    """Fills a queue as fast as the broker takes it, through its failures. Never returns."""
    arguments: Any = {"x-queue-type": "quorum"}
    while True:
        with contextlib.suppress(aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(5), await aio_pika.connect(broker_url) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("flood", durable=True, arguments=arguments)
                message = aio_pika.Message(b"x" * 20_000, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                while True:
                    sent = (channel.default_exchange.publish(message, queue.name) for _ in range(20))
                    await asyncio.gather(*sent)
        await asyncio.sleep(0.1)


def all_ready(at: Layout) -> bool:
    now = state.load(at.home)
    return bool(now and now.alive and all(row.ready for row in now.processes))


async def test_a_stack_whose_disk_was_full_heals_by_itself(home: Path) -> None:
    running = stack(home)
    at = running.layout
    async with running as environment, citizen(at) as who:
        before = await journey.submit(who, await journey.upload(who, photo(1)))
        await journey.result_when_done(who, before["result_url"])
        load = asyncio.create_task(flood(environment["ECO2_BROKER_URL"]))
        filling = [await asyncio.to_thread(small_disk.fill, home.parent)]
        for _ in range(FULL_SECONDS):
            filling.append(await asyncio.to_thread(small_disk.fill, home.parent))
            await asyncio.sleep(1)
            found = state.load(at.home)
            assert found is not None
            assert found.alive
        load.cancel()
        for file in filling:
            file.unlink(missing_ok=True)

        async def healed() -> bool:
            return all_ready(at)

        await until(healed, 120)
        assert (await journey.result(who, before["result_url"]))["status"] == "completed"
        after = await journey.submit(who, await journey.upload(who, photo(2)))
        await journey.result_when_done(who, after["result_url"])


async def test_a_spoilt_broker_is_named_and_mended_and_no_scan_is_lost(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECO2_SWEEP_LOST", "5")
    monkeypatch.setenv("ECO2_SWEEP_INTERVAL", "2")
    first = stack(home, EVERYTHING - WORKERS)
    at = first.layout
    async with first, citizen(at) as who:
        url = await journey.upload(who, photo(3))
        job = await journey.submit(who, url)
    spoilt = list(at.folder("rabbitmq").glob("mnesia/*/quorum/*/*/config"))
    assert spoilt
    for file in spoilt:
        file.write_text("")
    at.folder("postgres", "data", "postmaster.pid").write_text("")

    assert any("queues are empty" in text for text in repair.damage(at))
    with pytest.raises(LocalError, match=r"postmaster\.pid"):
        async with stack(home):
            pass
    outcomes = {found.name: found for found in await asyncio.to_thread(lambda: list(repair.repair(at)))}
    assert all(found.ok for found in outcomes.values())
    assert "lock file was removed" in outcomes["postgres"].text
    assert "made anew" in outcomes["rabbitmq"].text
    assert outcomes["object-store"].text == outcomes["redis-streams"].text == "sound"

    async with stack(home), citizen(at) as other, httpx2.AsyncClient() as anyone:
        http = httpx2.AsyncClient(base_url=at.public_url, headers={"Authorization": f"Bearer {who.token}"})
        async with http:
            result = await journey.result_when_done(Person(who.id, who.token, http), job["result_url"])
        assert result["status"] == "completed"
        assert (await anyone.get(url)).status_code == httpx2.codes.OK
        assert (await other.http.get(job["result_url"])).status_code == httpx2.codes.NOT_FOUND


async def test_queues_that_cannot_be_used_end_the_start_and_say_what_to_do(home: Path) -> None:
    broker = stack(home, {"rabbitmq"})
    async with broker:
        pass
    for file in broker.layout.folder("rabbitmq").glob("mnesia/*/quorum/*/*/config"):
        file.write_text("")
    with pytest.raises(LocalError, match=r"queues are damaged: celery.*local repair"):
        async with stack(home, {"rabbitmq"}):
            pass


async def test_a_repair_waits_for_room(home: Path) -> None:
    at = stack(home, {"redis-cache"}).layout
    small_disk.fill(home.parent, leave=disk.REFUSED_BYTES // 2)
    with pytest.raises(LocalError, match="free some space first"):
        list(repair.repair(at))
