"""Results by image content: found again, shared, never paid for twice; gone Redis costs money and no job."""

import asyncio
import hashlib
import io
import os
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from redis.exceptions import RedisError

from eco2.core import redis
from eco2.photos.pool import Decoders
from eco2.photos.reading import decode, grey
from eco2.photos.settings import PhotoSettings
from eco2.photos.views import Opened, Wanted
from eco2.scan.audience import Audience
from eco2.scan.outputs import Answer, Candidate, FinalAnswer, Rule, VisionResult
from eco2.scan.vision import look_index
from eco2.scan.vision.cache import ResultCache, result_key
from eco2.scan.vision.choose import Cascade, Models
from eco2.scan.vision.phash import SIDE, phash
from eco2.scan.vision.picture import FOR_PAID, SMALL, Picture
from eco2.scan.vision.providers import Embedded, ProviderFailed
from tests import photos
from tests.redis_server import RedisServer, until

CERAMIC = Rule("ceramic", "noncombustible_sack", False, (), None, ())
COMPOSED = FinalAnswer({"단계1": "a"}, (), "b")
DECODERS = Decoders(PhotoSettings())


@pytest.fixture(scope="module", autouse=True)
async def decoding() -> AsyncIterator[None]:
    async with DECODERS:
        yield


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cache(server: RedisServer) -> AsyncIterator[ResultCache]:
    client = redis.connect(server.url, decode_responses=False, retries=0)
    cache = ResultCache(client)
    yield cache
    await asyncio.gather(*cache._releases)
    await client.aclose()


class Paid:
    """A model that counts what it is asked."""

    vision_version = "paid-1"
    answer_version = "paid-1"

    def __init__(self, look_usd: float = 0.01) -> None:
        self.look_usd = look_usd
        self.hints: list[VisionResult | None] = []
        self.looks = 0
        self.answers = 0
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def look(self, picture: Picture, hint: VisionResult | None = None) -> VisionResult:
        self.looks += 1
        self.url = await picture.url()
        self.hints.append(hint)
        await self.gate.wait()
        if self.failing:
            raise ProviderFailed("switched off")
        return VisionResult("ceramic", 0.9, (Candidate("ceramic", 0.9),), False, True, "paid", ("clean",))

    async def answer(
        self, rule: Rule, composed: FinalAnswer, user_input: str | None, audience: Audience
    ) -> FinalAnswer:
        self.answers += 1
        if self.failing:
            raise ProviderFailed("switched off")
        return replace(composed, user_answer=f"worded for {user_input}")


class Free(Embedded):
    def __init__(self, seen: VisionResult | None = None) -> None:
        self.vision_version = self.answer_version = "free-1"
        self.seen = seen or VisionResult(None, 0.1, (), True, True, "free")

    async def look(self, picture: Picture, hint: VisionResult | None = None) -> VisionResult:
        return self.seen


@pytest.fixture
def paid() -> Paid:
    return Paid()


@pytest.fixture
def models(cache: ResultCache, paid: Paid) -> Models:
    return Models(Free(), lambda _model: paid, cache, DECODERS)


async def look(models: Models, data: bytes, model: str | None = None, *, asked: bool = True) -> VisionResult:
    return await models.look(models.picture("somebody", model, data), model, asked=asked)


def phash_of(image: Image.Image) -> int:
    return phash(grey(image, SIDE))


def variant(data: bytes, scale: float = 1.0, quality: int = 85) -> bytes:
    image = Image.open(io.BytesIO(data))
    size = (int(image.width * scale), int(image.height * scale))
    return photos.encoded(image.resize(size), "JPEG", quality=quality)


PHOTO = (Path(__file__).parents[2] / "data/demo/coffee.jpg").read_bytes()
OTHER = photos.encoded(Image.open(io.BytesIO(PHOTO)).transpose(Image.Transpose.ROTATE_180), "JPEG")


async def test_the_same_photo_is_paid_for_once(models: Models, paid: Paid) -> None:
    first = await look(models, PHOTO)
    again = await look(models, PHOTO)
    assert (first.source, again.source, paid.looks) == ("model", "exact", 1)
    assert replace(first, source="exact") == again
    assert first.situations == ("clean",)


@pytest.mark.parametrize(("scale", "quality"), [(1.0, 40), (0.5, 85), (1.3, 90)])
async def test_a_near_duplicate_is_not_paid_for(models: Models, paid: Paid, scale: float, quality: int) -> None:
    await look(models, PHOTO)
    near = await look(models, variant(PHOTO, scale, quality))
    assert (near.source, paid.looks) == ("near", 1)


async def test_another_photo_is_another_call(models: Models, paid: Paid) -> None:
    await look(models, PHOTO)
    assert (await look(models, OTHER)).source == "model"
    assert paid.looks == 2


async def test_another_version_starts_afresh(models: Models, paid: Paid) -> None:
    await look(models, PHOTO)
    paid.vision_version = "paid-2"
    assert (await look(models, PHOTO)).source == "model"


async def test_the_same_photo_many_times_at_once_is_one_call(models: Models, paid: Paid, server: RedisServer) -> None:
    other_process = redis.connect(server.url, decode_responses=False)
    twin = Models(Free(), lambda _model: paid, ResultCache(other_process), DECODERS)
    paid.gate.clear()
    calls = [asyncio.create_task(look(who, PHOTO)) for who in (models, twin) for _ in range(10)]
    while not paid.looks:
        await asyncio.sleep(0.01)
    paid.gate.set()
    sources = [(await call).source for call in calls]
    assert paid.looks == 1
    assert sources.count("model") == 1
    assert set(sources) <= {"model", "shared", "exact", "near"}
    await other_process.aclose()


async def test_the_lock_of_a_dead_process_does_not_hold_up_the_next(
    cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eco2.scan.vision.cache.LOCK_SECONDS", 0.3)
    gate = asyncio.Event()
    calls = 0

    async def compute() -> FinalAnswer:
        nonlocal calls
        calls += 1
        await gate.wait()
        return COMPOSED

    digest = uuid.uuid4().hex
    first, second = (
        asyncio.create_task(cache.get_or_compute(FinalAnswer, "test", "1", digest, compute)) for _ in range(2)
    )
    await asyncio.sleep(0.8)
    assert calls == 1, "a living holder renews"
    gate.set()
    assert {(await first)[1], (await second)[1]} == {"model", "shared"}

    digest = uuid.uuid4().hex
    await cache.redis.set(f"{result_key('test', '1', digest)}:lock", "dead", px=300)
    async with asyncio.timeout(5):
        assert await cache.get_or_compute(FinalAnswer, "test", "1", digest, compute) == (COMPOSED, "model")


# --- the embedded model first -----------------------------------------------------------------------------------------

SURE = VisionResult("drink_can", 0.93, (Candidate("drink_can", 0.93),), False, True, "free")


def saved() -> float:
    return REGISTRY.get_sample_value("eco2_scan_cascade_saved_usd_total") or 0.0


def cascading(cache: ResultCache, paid: Paid, seen: VisionResult, cheaper: Paid | None = None) -> Models:
    models = {None: paid, "named": paid, "small": cheaper}
    return Models(Free(seen), models.get, cache, DECODERS, Cascade(0.9, "small" if cheaper else None))


async def test_a_sure_first_look_saves_the_paid_one(cache: ResultCache, paid: Paid) -> None:
    models, before = cascading(cache, paid, SURE), saved()
    found = await look(models, PHOTO, asked=False)
    assert (found.item_id, found.model, found.source, paid.looks) == ("drink_can", "free", "cascade", 0)
    assert saved() == pytest.approx(before + 0.01)


@pytest.mark.parametrize(
    ("seen", "model", "asked"),
    [
        (replace(SURE, confidence=0.89), None, False),
        (replace(SURE, item_id=None, needs_choice=True), None, False),
        (SURE, "named", False),
        (SURE, None, True),
    ],
)
async def test_else_the_paid_model_sees_the_photo_and_the_guesses(
    cache: ResultCache, paid: Paid, seen: VisionResult, model: str | None, asked: bool
) -> None:
    models, before = cascading(cache, paid, seen), saved()
    found = await look(models, PHOTO, model, asked=asked)
    assert (found.model, paid.hints, saved()) == ("paid", [seen], before)
    again = await look(models, PHOTO, model, asked=asked)
    assert (again.source, paid.looks) == ("exact", 1)


async def test_a_sure_first_look_may_be_checked_by_a_cheaper_model(cache: ResultCache, paid: Paid) -> None:
    cheaper = Paid(look_usd=0.002)
    cheaper.vision_version = "cheaper-1"
    models, before = cascading(cache, paid, SURE, cheaper), saved()
    found = await look(models, PHOTO, asked=False)
    assert (found.item_id, found.source, paid.looks, cheaper.hints) == ("ceramic", "model", 0, [SURE])
    assert saved() == pytest.approx(before + 0.008)


async def test_without_a_cascade_the_embedded_model_is_not_asked(models: Models, paid: Paid) -> None:
    await look(models, PHOTO, asked=False)
    assert paid.hints == [None]


async def test_a_failed_paid_model_is_replaced_and_not_remembered(models: Models, paid: Paid) -> None:
    paid.failing = True
    found = await look(models, PHOTO)
    assert (found.source, found.model) == ("fallback", "free")
    assert await models.answer(CERAMIC, COMPOSED, "?", None) == Answer.of(COMPOSED, "fallback")
    paid.failing = False
    assert (await look(models, PHOTO)).source == "model"


async def test_an_answer_is_paid_for_once_per_rule_and_words(models: Models, paid: Paid) -> None:
    first = await models.answer(CERAMIC, COMPOSED, "왜요?", None)
    assert await models.answer(CERAMIC, COMPOSED, "왜요?", None) == replace(first, source="exact")
    assert paid.answers == 1
    assert await models.answer(CERAMIC, COMPOSED, "어디에?", None) != first
    unknown = replace(CERAMIC, item_id=None)
    assert await models.answer(unknown, COMPOSED, "왜요?", None) == Answer.of(COMPOSED, "rules")
    assert paid.answers == 2


async def test_what_was_seen_tells_the_photo_from_others(models: Models, paid: Paid, server: RedisServer) -> None:
    def told(found: VisionResult, data: bytes) -> bool:
        hashed = phash_of(decode(data, SMALL.shorter))
        return (found.digest, int(found.phash or "0", 16)) == (hashlib.sha256(data).hexdigest(), hashed)

    near, other = variant(PHOTO, quality=40), variant(PHOTO, 0.5)
    for data, source in ((PHOTO, "model"), (PHOTO, "exact"), (near, "near"), (near, "exact")):
        found = await look(models, data)
        assert (found.source, told(found, data)) == (source, True)
    embedded = Models(models.embedded, lambda _model: None, models.cache, models.decoders)
    for source in ("model", "exact"):
        found = await look(embedded, OTHER)
        assert (found.source, told(found, OTHER)) == (source, True)
    paid.failing = True
    found = await look(models, OTHER)
    assert (found.source, told(found, OTHER)) == ("fallback", True)
    paid.failing = False
    await server.kill()
    found = await look(models, other)
    assert (found.source, told(found, other)) == ("uncached", True)


@pytest.mark.parametrize("redis_runs", [True, False])
async def test_a_photo_is_decoded_once_for_a_paid_look(
    models: Models, paid: Paid, server: RedisServer, monkeypatch: pytest.MonkeyPatch, redis_runs: bool
) -> None:
    url = await Picture(DECODERS, "somebody", FOR_PAID, PHOTO).url()
    decoded: list[Wanted] = []
    open_photo = DECODERS.open

    async def count(data: bytes, wanted: Wanted, user: object) -> Opened:
        decoded.append(wanted)
        return await open_photo(data, wanted, user)

    monkeypatch.setattr(DECODERS, "open", count)
    if not redis_runs:
        await server.kill()
    found = await look(models, PHOTO)
    assert (decoded, len(found.phash or ""), paid.url) == ([replace(FOR_PAID, checked=True)], 64, url)


async def test_without_redis_every_call_is_made_once(models: Models, paid: Paid, server: RedisServer) -> None:
    await server.kill()
    found = await look(models, PHOTO)
    assert (found.source, paid.looks) == ("uncached", 1)


async def test_redis_lost_during_the_call_does_not_pay_again(models: Models, paid: Paid, server: RedisServer) -> None:
    paid.gate.clear()
    call = asyncio.create_task(look(models, PHOTO))
    while not paid.looks:
        await asyncio.sleep(0.01)
    await server.kill()
    paid.gate.set()
    assert (await call).item_id == "ceramic"
    assert paid.looks == 1


@pytest.mark.parametrize("fault", ["killed", "hanging"])
async def test_a_time_limit_is_kept_and_pays_once_when_redis_is_lost_during_the_call(
    models: Models, paid: Paid, server: RedisServer, fault: str
) -> None:
    paid.gate.clear()
    call = asyncio.create_task(_limited(models))
    asyncio.get_running_loop().call_later(1, paid.gate.set)  # a call that is made again shall end
    while not paid.looks:
        await asyncio.sleep(0.01)
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
    try:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await call
        assert asyncio.get_running_loop().time() - began < 0.8
        paid.gate.set()
        await asyncio.sleep(0.1)
        assert paid.looks == 1
    finally:
        if fault == "hanging":
            server.process.send_signal(signal.SIGCONT)


async def _limited(models: Models) -> VisionResult:
    async with asyncio.timeout(0.3):
        return await look(models, PHOTO)


@pytest.mark.parametrize(
    "error", [ProviderFailed("no"), ValueError("a bug"), RedisError("of its own"), OSError("wire")]
)
async def test_a_call_that_fails_as_redis_is_lost_is_not_made_again(
    cache: ResultCache, server: RedisServer, error: Exception
) -> None:
    calls = 0

    async def compute() -> FinalAnswer:
        nonlocal calls
        calls += 1
        await server.kill()
        raise error

    with pytest.raises(type(error), match=str(error)):
        await cache.get_or_compute(FinalAnswer, "test", "1", uuid.uuid4().hex, compute)
    assert calls == 1


async def test_a_call_that_fails_lets_the_next_one_begin_at_once(cache: ResultCache) -> None:
    failing = True

    async def compute() -> FinalAnswer:
        if failing:
            raise ProviderFailed("no")
        return COMPOSED

    digest = uuid.uuid4().hex
    with pytest.raises(ProviderFailed):
        await cache.get_or_compute(FinalAnswer, "test", "1", digest, compute)
    failing = False
    async with asyncio.timeout(1):
        assert await cache.get_or_compute(FinalAnswer, "test", "1", digest, compute) == (COMPOSED, "model")


async def test_a_lock_that_could_not_be_renewed_once_is_renewed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eco2.scan.vision.cache.LOCK_SECONDS", 0.6)
    gate = asyncio.Event()

    async def compute() -> FinalAnswer:
        await gate.wait()
        return COMPOSED

    async with RedisServer("--appendfsync", "always", aof=True) as server:
        client = redis.connect(server.url, decode_responses=False, retries=0)
        digest = uuid.uuid4().hex
        call = asyncio.create_task(ResultCache(client).get_or_compute(FinalAnswer, "test", "1", digest, compute))
        lock = f"{result_key('test', '1', digest)}:lock"
        while not await client.exists(lock):
            await asyncio.sleep(0.01)
        await client.pexpire(lock, 5000)
        await server.kill()
        await asyncio.sleep(0.5)
        await server.start()

        async def renewed() -> bool:
            return 0 < await client.pttl(lock) <= 600

        await until(renewed, 3)
        gate.set()
        await call
        await asyncio.sleep(0.05)  # for the renewal that was cancelled
        await client.aclose()


async def fill(server: RedisServer, version: str, photos: int) -> None:
    """Looks of another worker at photos that are like no other."""
    async with redis.connect(server.url, decode_responses=False) as client:
        pipeline = client.pipeline(transaction=False)
        for _ in range(photos):
            phash, digest = int.from_bytes(os.urandom(32)), os.urandom(32).hex()
            pipeline.xadd(look_index.stream(version), {look_index.FIELD: look_index.packed(phash, digest)})
        await pipeline.execute()


async def commands(server: RedisServer) -> int:
    """Commands so far, those of scripts included."""
    async with redis.connect(server.url) as client:
        return sum(row["calls"] for name, row in (await client.info("commandstats")).items() if name != "cmdstat_info")


async def test_a_worker_finds_look_alikes_among_thousands_that_others_looked_at(
    models: Models, paid: Paid, server: RedisServer
) -> None:
    await fill(server, paid.vision_version, 2 * look_index.PAGE + 10)
    await look(models, PHOTO)
    await fill(server, paid.vision_version, look_index.PAGE)
    other_process = redis.connect(server.url, decode_responses=False)
    twin = Models(Free(), lambda _model: paid, ResultCache(other_process), DECODERS)
    for who in (twin, models):
        assert (await look(who, variant(PHOTO, 0.5))).source in ("near", "exact")
    assert paid.looks == 1
    await other_process.aclose()


async def test_a_look_takes_as_many_commands_however_many_photos_are_kept(
    models: Models, paid: Paid, server: RedisServer
) -> None:
    await look(models, OTHER)  # loads the scripts
    costs = []
    for known, scale in ((0, 0.8), (3 * look_index.PAGE, 0.6)):
        await fill(server, paid.vision_version, known)
        assert (await look(models, variant(OTHER, scale))).source == "near"  # reads what is new
        before = await commands(server)
        await look(models, photos.encoded(photos.picture(640, 480, seed=known), "JPEG"))
        costs.append(await commands(server) - before)
    assert costs[0] == costs[1]
    assert costs[0] <= 12


@pytest.mark.parametrize("size", [SIDE, 224, 400])
def test_how_far_a_photo_was_reduced_in_decoding_hardly_matters(size: int) -> None:
    assert (phash_of(decode(PHOTO, SMALL.shorter)) ^ phash_of(decode(PHOTO, size))).bit_count() <= 8


@pytest.mark.parametrize("words", [None, "", "  "])
async def test_a_scan_without_words_pays_for_no_answer(models: Models, paid: Paid, words: str | None) -> None:
    assert await models.answer(CERAMIC, COMPOSED, words, None) == Answer.of(COMPOSED, "rules")
    assert paid.answers == 0
