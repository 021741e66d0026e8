"""Jobs of a paid model: asked once, whatever goes wrong, and never in vain."""

import signal
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2 import knowledge as kb
from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack
from tests import photos
from tests.conftest import PAID_MODEL, Person
from tests.e2e import journey
from tests.e2e.test_faults import back, send
from tests.e2e.test_scan import EVENTS
from tests.redis_server import until

People = Callable[[], Person]


@pytest.fixture
async def emulator(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """The emulated LLM, answering at once; its faults and counts are forgotten before and after."""
    url = llm_emulator.base_url(stack.layout).removesuffix("/v1")
    async with httpx2.AsyncClient(base_url=url) as client:
        await client.delete("/_calls")
        await control(client)
        yield client
        await control(client)


async def control(client: httpx2.AsyncClient, **behaviour: Any) -> None:
    both = {"vision": {"item": "milk_carton"}, "answer": {}}
    (await client.post("/_control", json={**both, **behaviour})).raise_for_status()


async def calls(client: httpx2.AsyncClient, job: dict[str, Any]) -> dict[str, int]:
    """Purpose → how often the model was asked for this job."""
    report = (await client.get("/_calls")).json()
    return {purpose: row["calls"] for purpose, row in report["jobs"].get(job["job_id"], {}).items()}


async def submit(who: Person, seed: int | None = None, **body: str) -> dict[str, Any]:
    """A job of the paid model with a photo that nobody has seen yet."""
    seed = uuid.uuid4().int % 2**32 if seed is None else seed
    url = await journey.upload(who, photos.encoded(photos.picture(320, 240, seed=seed), "JPEG"))
    return await journey.submit(who, url, model=PAID_MODEL, **body)


async def ended(who: Person, job: dict[str, Any]) -> dict[str, Any]:
    found = await journey.frames(who, job["stream_url"])
    assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
    return await journey.result(who, job["result_url"])


async def test_a_paid_model_looks_and_chooses_once(person: People, emulator: httpx2.AsyncClient) -> None:
    await control(emulator, answer={"reply": ["milk_carton.note", "made.up"]})
    who = person()
    job = await submit(who, user_input="어떻게 해요?")
    body = await ended(who, job)
    classes = body["pipeline_result"]["classification_result"]["classification"]
    assert classes["middle_category"] == "종이팩"
    told = body["pipeline_result"]["final_answer"]["user_answer"]
    assert told.startswith("우유팩은 헹궈 말려 종이팩 전용함에")
    assert told.endswith(kb.load().item("milk_carton").note_ko)
    assert body["reward"]["name"] == "팩토리"
    assert await calls(emulator, job) == {"vision": 1, "answer": 1}


@pytest.mark.parametrize("fault", ["rate_limit", "error", "hang", "garbage", "cut", "wrong_item"])
async def test_one_fault_is_ridden_out(person: People, emulator: httpx2.AsyncClient, fault: str) -> None:
    await control(emulator, vision={"item": "milk_carton", "next": [fault], "retry_after": 0.2})
    who = person()
    job = await submit(who)
    body = await ended(who, job)
    assert body["pipeline_result"]["classification_result"]["classification"]["middle_category"] == "종이팩"
    assert (await calls(emulator, job))["vision"] == 2


@pytest.mark.parametrize("fault", ["error", "garbage"])
async def test_a_model_that_never_answers_is_replaced(person: People, emulator: httpx2.AsyncClient, fault: str) -> None:
    await control(emulator, vision={"rates": {fault: 1}}, answer={"rates": {fault: 1}})
    who = person()
    job = await submit(who, user_input="우유팩이에요")
    body = await ended(who, job)
    assert body["status"] == "completed"
    assert body["pipeline_result"]["classification_result"]["classification"]["middle_category"] == "종이팩"


async def test_the_same_photo_costs_one_look_for_everybody(person: People, emulator: httpx2.AsyncClient) -> None:
    await control(emulator, vision={"item": "milk_carton", "median": 0.5})
    seed = uuid.uuid4().int % 2**32
    people = [person() for _ in range(5)]
    jobs = [await submit(who, seed) for who in people]
    for who, job in zip(people, jobs, strict=True):
        await ended(who, job)
    assert sum([(await calls(emulator, job)).get("vision", 0) for job in jobs]) == 1


@pytest.mark.parametrize("stage", ["vision", "answer"])
async def test_a_stage_that_is_stored_is_never_paid_for_again(
    stack: Stack, person: People, emulator: httpx2.AsyncClient, stage: str
) -> None:
    """The worker is killed in the middle of the stage's call; what was stored before is not asked again."""
    slow = {"vision": {"item": "milk_carton"}, "answer": {}}
    slow[stage] = {**slow[stage], "median": 1.5}  # type: ignore[dict-item]
    await control(emulator, **slow)
    who = person()
    job = await submit(who, user_input=f"질문 {uuid.uuid4().hex}")  # an answer that is not known yet

    async def in_the_call() -> bool:
        return (await calls(emulator, job)).get(stage) == 1

    await until(in_the_call)
    pid = await send(stack, "scan-worker", signal.SIGKILL)
    await back(stack, "scan-worker", pid)
    await ended(who, job)
    counted = await calls(emulator, job)
    assert counted[stage] == 2, "the call that was cut off is made again"
    assert counted["answer" if stage == "vision" else "vision"] == 1


async def drop_consumers(stack: Stack, queue: str) -> None:
    """Close the broker connections by which a queue is consumed, as the broker lists them now."""
    login = ("eco2", stack.layout.credentials.broker_password)
    async with httpx2.AsyncClient(base_url=f"{stack.layout.management_url}/api", auth=login, timeout=30) as management:
        found: set[str] = set()

        async def listed() -> bool:
            rows = (await management.get("/consumers/eco2")).json()
            # The details of a channel that was opened a moment ago are empty.
            details = [row["channel_details"] for row in rows if row["queue"]["name"] == queue]
            found.update(one["connection_name"] for one in details if one)
            return bool(found)

        await until(listed)
        for name in found:
            await management.delete(f"/connections/{name}")


async def test_a_call_goes_on_when_the_connection_to_the_broker_drops_and_is_not_paid_for_again(
    stack: Stack, person: People, emulator: httpx2.AsyncClient
) -> None:
    await control(emulator, vision={"item": "milk_carton", "median": 1.5}, answer={"median": 1.5})
    who = person()
    job = await submit(who, user_input=f"질문 {uuid.uuid4().hex}")
    for stage in ("vision", "answer"):

        async def in_the_call(stage: str = stage) -> bool:
            return (await calls(emulator, job)).get(stage) == 1

        await until(in_the_call)
        await drop_consumers(stack, f"scan.{stage}")
    await ended(who, job)
    assert await calls(emulator, job) == {"vision": 1, "answer": 1}


WAIT = """
CREATE FUNCTION wait_in_test() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$
"""
SLOW_RULE = """
CREATE TRIGGER slow_rule BEFORE UPDATE ON scan.jobs FOR EACH ROW
    WHEN (OLD.rule IS NULL AND NEW.rule IS NOT NULL AND NEW.user_input = '{words}')
    EXECUTE FUNCTION wait_in_test()
"""
STORING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ '^UPDATE scan.jobs SET (vision|rule)'"
)


async def test_a_worker_killed_in_the_stage_rule_pays_for_no_second_look(
    stack: Stack, person: People, emulator: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    """The stage takes a millisecond; a trigger holds it up while its result is stored."""
    await control(emulator)
    who, words = person(), f"question {uuid.uuid4().hex}"
    async with engine.begin() as tx:
        await tx.exec_driver_sql(WAIT)
        await tx.exec_driver_sql(SLOW_RULE.format(words=words))
    try:
        job = await submit(who, user_input=words)

        async def storing() -> bool:
            async with engine.connect() as tx:
                return (await tx.exec_driver_sql(STORING)).first() is not None

        await until(storing)
        pid = await send(stack, "scan-worker", signal.SIGKILL)
    finally:
        async with engine.begin() as tx:
            await tx.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM ({STORING}) storing")
            await tx.exec_driver_sql("DROP TRIGGER slow_rule ON scan.jobs")
            await tx.exec_driver_sql("DROP FUNCTION wait_in_test")
    await back(stack, "scan-worker", pid)
    await ended(who, job)
    assert await calls(emulator, job) == {"vision": 1, "answer": 1}
