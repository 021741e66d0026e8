"""Messages and their answers on the real servers: sent, streamed, stopped, tried again, kept when something dies."""

import asyncio
import unicodedata
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import orjson
import pytest

from eco2.chat import conversation, keeper, turn_store, work_store, worker
from eco2.chat.agent import graph
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.answering import Agent
from eco2.chat.conversation import Asked, Talk
from eco2.chat.scans import Scans, open_scans
from eco2.chat.settings import ApiSettings, WorkerSettings
from eco2.chat.turn_store import Answer, Limits, Said, Turn
from eco2.contracts.events import Service
from eco2.contracts.pb.job_state_pb2 import GetJobStatesRequest
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceStub
from eco2.core import grpc
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.core.storage import Storage
from eco2.core.turns import Turns
from eco2.messaging.broker import BrokerDown, Heartbeat, Publisher, ride_out
from eco2.messaging.consumer import Message, PoisonMessage
from eco2.messaging.events import EventBus
from eco2.scan.services import Services
from tests.conftest import FromStack, Person
from tests.photos import jpeg

People = Callable[[], Person]
CHAT = "/api/v1/chat"
Json = dict[str, Any]


@pytest.fixture
async def talk(settings: FromStack, database: Database, services: Services) -> AsyncIterator[Talk]:
    """Dependencies of a chat-api of one's own."""
    own = settings(ApiSettings)
    async with AsyncExitStack() as stack:
        publisher = Publisher(own.chat_broker_url)
        stack.push_async_callback(publisher.close)

        async def publish(_user: uuid.UUID, _key: str) -> None:
            return

        yield Talk(
            db=database,
            storage=Storage(own),
            scans=await stack.enter_async_context(open_scans(own.grpc_scan_api, own.service_secret)),
            chats_per_day=own.chats_per_day,
            turns=Turns(50),
            bus=EventBus(services.bus.redis, Service.CHAT),
            publisher=publisher,
            publish=publish,
            upload_secret=own.upload_secret,
            models=own.models,
            limits=Limits(5, 1000),
        )


async def begun(who: Person, **body: Any) -> str:
    answer = await who.http.post(CHAT, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def send(who: Person, chat: str, words: str, **more: Any) -> str:
    answer = await who.http.post(f"{CHAT}/{chat}/messages", json={"message": words, **more})
    assert answer.status_code == 200, answer.text
    job = answer.json()["job_id"]
    assert answer.json() == {"job_id": job, "stream_url": f"{CHAT}/{job}/events", "status": "submitted"}
    return str(job)


async def followed(who: Person, job: str) -> list[tuple[str, Json]]:
    """(event, data) of each frame up to the last one."""
    found: list[tuple[str, Json]] = []
    async with asyncio.timeout(30), who.http.sse(f"{CHAT}/{job}/events", timeout=httpx2.Timeout(30)) as source:
        async for event in source:
            if event.event != "keepalive":
                found.append((event.event, orjson.loads(event.data)))
            if event.event == "done":
                return found
    raise AssertionError("the stream ended without an end")


async def answer_of(who: Person, chat: str, words: str) -> Json:
    frames = await followed(who, await send(who, chat, words))
    done = frames[-1][1]
    assert done["status"] == "completed", done
    return dict(done["result"])


async def history(who: Person, chat: str) -> list[Json]:
    return list((await who.http.get(f"{CHAT}/{chat}")).json()["messages"])


async def test_a_message_is_answered_by_the_rules_and_told_as_it_is_stored(person: People) -> None:
    who = person()
    chat = await begun(who)
    job = await send(who, chat, "캔은 어떻게 버려요?")
    frames = await followed(who, job)
    stages = [(event, data["status"]) for event, data in frames if event not in ("token", "token_recovery")]
    assert stages[:3] == [("queued", "started"), ("queued", "completed"), ("intent", "started")]
    assert stages[-1] == ("done", "completed")
    assert ("waste_rag", "completed") in stages
    assert [data["seq"] for event, data in frames if not event.startswith("token")] == list(range(1, len(stages) + 1))
    result = frames[-1][1]["result"]
    assert (result["intent"], "캔" in result["answer"]) == ("waste", True)
    said = "".join(data.get("content") or data["accumulated"] for event, data in frames if event.startswith("token"))
    assert said in ("", result["answer"]), "one who comes late has the end alone"
    question, answer = await history(who, chat)
    kept = result["persistence"]
    assert (kept["conversation_id"], kept["user_id"]) == (chat, str(who.id))
    assert (kept["user_message"], kept["assistant_message"]) == (question["id"], answer["id"])
    assert (answer["content"], answer["intent"]) == (result["answer"], "waste")
    assert question["turn"] == {"job_id": job, "status": "completed", "error": None, "code": None}
    gone = await who.http.get(f"{CHAT}/{job}/events", headers={"Last-Event-ID": str(frames[-1][1]["seq"])})
    assert gone.status_code == 204


async def test_a_follow_up_is_about_the_last_thing(person: People) -> None:
    who = person()
    chat = await begun(who)
    first = await answer_of(who, chat, "프라이팬은 어떻게 버려요?")
    assert first["persistence"]["metadata"]["items"] == ["frying_pan"]
    follow = await answer_of(who, chat, "그럼 손잡이는?")
    assert follow["persistence"]["metadata"]["followed"] == "frying_pan"
    other = await answer_of(who, chat, "부탄가스는?")
    assert "followed" not in other["persistence"]["metadata"]
    assert (await answer_of(who, chat, "안녕하세요!"))["intent"] == "general"
    assert (await answer_of(who, chat, "👍"))["intent"] == "general"
    assert (await answer_of(who, chat, "어디에 버려?"))["persistence"]["metadata"]["followed"] == "butane_can"


async def test_messages_of_odd_forms(person: People) -> None:
    who = person()
    chat = await begun(who)
    decomposed = unicodedata.normalize("NFD", f"캔은 어떻게 버려요? {'각' * 3985}")
    assert len(decomposed) > 8000
    assert (await answer_of(who, chat, decomposed))["persistence"]["metadata"]["items"] == ["drink_can"]
    assert (await history(who, chat))[0]["content"] == unicodedata.normalize("NFC", decomposed)
    path = f"{CHAT}/{chat}/messages"
    for body, status, code in (
        ({}, 400, "MESSAGE_REQUIRED"),
        ({"message": "  \n"}, 400, "MESSAGE_REQUIRED"),
        ({"message": "가" * 4001}, 422, "VALIDATION_ERROR"),
        ({"message": "캔", "model": "x"}, 400, "UNSUPPORTED_MODEL"),
        ({"message": "캔", "model": "gpt-5.2-pro"}, 400, "UNSUPPORTED_MODEL"),
        ({"message": "캔", "model": "gemini-3-pro-preview"}, 400, "UNSUPPORTED_MODEL"),
        ({"message": "캔", "user_location": {"latitude": 91, "longitude": 0}}, 422, "VALIDATION_ERROR"),
        ({"message": "캔", "image_url": "http://169.254.169.254/chat/x.jpg"}, 400, "IMAGE_URL_NOT_ALLOWED"),
    ):
        answer = await who.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
    for model in ("gpt-5.2", "gemini-3-flash-preview"):  # what the app names
        await followed(who, await send(who, chat, "캔", model=model))
    missing = await who.http.post(f"{CHAT}/{uuid.uuid4()}/messages", json={"message": "캔"})
    assert (missing.status_code, missing.json()["code"]) == (404, "CHAT_NOT_FOUND")


async def test_a_photo_of_ones_own_is_checked_and_published(person: People, services: Services) -> None:
    who, other = person(), person()
    chat = await begun(who)

    async def uploaded(owner: Person, data: bytes | None) -> str:
        ticket = (await owner.http.post("/api/v1/images/chat", json={"filename": "a.jpg"})).json()
        if data is not None:
            async with httpx2.AsyncClient() as plain:
                put = await plain.put(ticket["upload_url"], content=data, headers={"Content-Type": "image/jpeg"})
                assert put.status_code == 200
        return str(ticket["cdn_url"])

    url = await uploaded(who, jpeg())
    frames = await followed(who, await send(who, chat, "이 이미지 분류해줘", image_url=url))
    assert frames[-1][1]["result"]["persistence"]["user_image_url"] == url
    assert (await history(who, chat))[0]["image_url"] == url
    key = services.storage.key_of(url)
    assert key
    assert await services.storage.public.head(key) is not None
    for bad, status, code in (
        (await uploaded(other, jpeg()), 404, "IMAGE_NOT_FOUND"),
        (await uploaded(who, None), 404, "IMAGE_NOT_FOUND"),
        (await uploaded(who, b"<svg/>"), 415, "IMAGE_TYPE_NOT_SUPPORTED"),
    ):
        answer = await who.http.post(f"{CHAT}/{chat}/messages", json={"message": "뭐예요?", "image_url": bad})
        assert (answer.json()["code"], answer.status_code) == (code, status)
    assert len(await history(who, chat)) == 2, "nothing of a refused photo is kept"


async def test_of_another_user_nothing_is_seen_stopped_or_given(person: People, database: Database) -> None:
    who, other = person(), person()
    chat = await begun(who)
    job = await send(who, chat, "캔")
    await followed(who, job)
    assert (await other.http.get(f"{CHAT}/{job}/events")).status_code == 404
    cancelled = await other.http.post(f"{CHAT}/{job}/cancel")
    given = await other.http.post(f"{CHAT}/{job}/input", json={"type": "cancel"})
    message = (await history(who, chat))[0]["id"]
    retried = await other.http.post(f"{CHAT}/{chat}/messages/{message}/retry")
    sent = await other.http.post(f"{CHAT}/{chat}/messages", json={"message": "x"})
    found = [(one.status_code, one.json()["code"]) for one in (cancelled, given, retried, sent)]
    assert found == [(404, "JOB_NOT_FOUND")] * 2 + [(404, "CHAT_NOT_FOUND")] * 2
    assert (await who.http.post(f"{CHAT}/{job}/cancel")).json()["status"] == "completed", "over is over"
    late = await who.http.post(f"{CHAT}/{job}/input", json={"type": "location", "data": {}})
    assert (late.status_code, late.json()["code"]) == (409, "INPUT_NOT_EXPECTED")


async def waiting(db: Database, who: Person, chat: str, words: str = "캔은 어떻게 버려요?") -> Turn:
    """A turn whose message no broker has; the keeper leaves it alone."""
    turn = await turn_store.submit(db, uuid.UUID(chat), who.id, Said(words), None, Limits(5, 1000))
    assert isinstance(turn, Turn)
    await db.rows("UPDATE chat.turns SET queued_at = now() WHERE id = %(id)s", id=turn.id)
    return turn


async def test_a_second_message_waits_and_an_answer_that_nobody_began_is_stopped_at_once(
    person: People, database: Database
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat)
    busy = await who.http.post(f"{CHAT}/{chat}/messages", json={"message": "병"})
    assert (busy.status_code, busy.json()["code"]) == (409, "CHAT_BUSY")
    stopped = await who.http.post(f"{CHAT}/{turn.id}/cancel")
    assert stopped.json() == {"job_id": str(turn.id), "status": "cancelled"}
    done = (await followed(who, str(turn.id)))[-1][1]
    assert (done["status"], done["result"]["answer"]) == ("completed", "답변을 멈췄어요.")
    question, answer = await history(who, chat)
    assert (question["turn"]["status"], answer["metadata"]) == ("cancelled", {"cancelled": True})
    again = await who.http.post(f"{CHAT}/{chat}/messages/{question['id']}/retry")
    assert again.status_code == 200
    assert "캔" in (await followed(who, again.json()["job_id"]))[-1][1]["result"]["answer"]
    assert len(await history(who, chat)) == 2


async def test_input_is_taken_once_where_it_is_waited_for(person: People, database: Database) -> None:
    who = person()
    turn = await waiting(database, who, await begun(who))
    await database.rows("UPDATE chat.turns SET waiting_for = 'location' WHERE id = %(id)s", id=turn.id)
    path, place = f"{CHAT}/{turn.id}/input", {"latitude": 37.5, "longitude": 127.0}
    assert (await who.http.post(path, json={"type": "confirmation"})).status_code == 409
    answer = await who.http.post(path, json={"type": "location", "data": place})
    assert answer.json() == {"status": "received", "job_id": str(turn.id)}
    assert (await who.http.post(path, json={"type": "location", "data": place})).status_code == 409
    stored = await turn_store.load(database, turn.id)
    assert stored
    assert stored.input == {"type": "location", "data": place}
    assert (await who.http.post(path, json={"type": "cancel"})).status_code == 200
    ended = await turn_store.load(database, turn.id)
    assert ended
    assert ended.status == "cancelled"


async def test_input_outlives_the_worker_though_its_user_is_asked_elsewhere(person: People, database: Database) -> None:
    who = person()
    one, other = [await waiting(database, who, await begun(who)) for _ in range(2)]
    assert await turn_store.wait_for(database, one, "location") == (True, None)
    assert await turn_store.wait_for(database, other, "location") == (False, None)
    assert await turn_store.wait_for(database, one, "location") == (True, None), "of a worker that died"
    assert await turn_store.give_input(database, one.id, "location", {"latitude": 37.5})
    assert await turn_store.wait_for(database, other, "location") == (True, None)
    assert await turn_store.wait_for(database, one, "location") == (True, {"latitude": 37.5})


async def test_the_legacy_route_answers_in_place(person: People) -> None:
    who = person()
    first = await who.http.post(f"{CHAT}/messages", json={"message": "캔은 어떻게 버려요?", "temperature": 0.7})
    assert first.status_code == 201
    assert "캔" in first.json()["user_answer"]
    more = {"message": "그럼 라벨은?", "session_id": first.json()["session_id"]}
    assert (await who.http.post(f"{CHAT}/messages", json=more)).json()["session_id"] == first.json()["session_id"]
    assert len(await history(who, first.json()["session_id"])) == 4
    assert (await who.http.post(f"{CHAT}/messages", json={"message": ""})).json()["code"] == "MESSAGE_REQUIRED"
    assert len((await who.http.get(CHAT)).json()["chats"]) == 1, "no chat is begun for a refused message"


# --- what dies on the way ---------------------------------------------------------------------------------------------


class _Away(Publisher):
    async def send_json(self, *_: Any, **__: Any) -> None:
        raise BrokerDown


async def test_a_message_that_the_broker_did_not_get_is_sent_by_the_keeper(
    person: People, talk: Talk, database: Database
) -> None:
    who = person()
    chat = await begun(who)
    without = replace(talk, publisher=_Away("amqp://nowhere"))
    turn = await conversation.send(without, who.id, uuid.UUID(chat), Asked("캔은 어떻게 버려요?"), None)
    stored = await turn_store.load(database, turn.id)
    assert stored
    assert (stored.open, stored.queued) == (True, False)
    assert turn.id not in await work_store.unsent(database, timedelta(hours=1))
    assert (await followed(who, str(turn.id)))[-1][1]["status"] == "completed", "the keeper of the stack sends it"


async def test_the_keeper_ends_what_is_overdue_and_announces_what_nobody_heard(
    person: People, talk: Talk, database: Database
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat)
    await database.rows("UPDATE chat.turns SET created_at = now() - interval '1 hour' WHERE id = %(id)s", id=turn.id)
    done = (await followed_from(who, talk, turn))[-1][1]
    assert (done["status"], done["result"]) == ("failed", "")
    assert "오래" in done["message"]
    (question,) = await history(who, chat)
    assert (question["turn"]["status"], question["turn"]["code"]) == ("failed", "ANSWER_LATE")
    other = await waiting(database, who, await begun(who))
    assert await turn_store.fail(database, other.id, "X", "x"), "its process dies before it says so"
    assert (await followed_from(who, talk, other))[-1][1]["message"] == "x"


async def followed_from(who: Person, talk: Talk, turn: Turn) -> list[tuple[str, Json]]:
    """The stream of a turn that the keeper of the stack ends."""
    await talk.bus.open(str(turn.id), str(who.id))
    return await followed(who, str(turn.id))


@pytest.fixture
async def resources(settings: FromStack, talk: Talk, services: Services) -> worker.Resources:
    """Resources of a chat-worker of one's own."""
    own, base = settings(WorkerSettings), services.knowledge
    agent = Agent(base, graph.build(), OwnWords(base), None, None, own.llm_default_model)
    return worker.Resources(talk.db, talk.bus, talk.storage, base, Scans(None), agent, own, Heartbeat())


def delivery(body: Json, deliveries: int = 0) -> Message:
    headers = {"x-delivery-count": deliveries}
    message = SimpleNamespace(body=orjson.dumps(body), headers=headers, redelivered=deliveries > 0, message_id=None)
    return cast(Message, message)


async def test_a_message_delivered_twice_is_answered_once(
    person: People, database: Database, resources: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat)
    message = delivery({"job_id": str(turn.id)})
    await asyncio.gather(*(worker.work(resources, message) for _ in range(3)))
    await worker.work(resources, message)
    assert [one["role"] for one in await history(who, chat)] == ["user", "assistant"]
    assert [event for event, _ in await followed(who, str(turn.id))].count("done") == 1
    await worker.work(resources, delivery({"job_id": str(uuid.uuid4())}))  # of a chat that was removed
    for nonsense in ({}, {"job_id": 1}, {"job_id": "x"}):
        with pytest.raises(PoisonMessage):
            await worker.work(resources, delivery(nonsense))


async def test_work_that_fails_again_and_again_fails_its_turn_at_the_last_delivery(
    person: People, database: Database, resources: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat)
    broken = replace(resources, agent=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        await worker.work(broken, delivery({"job_id": str(turn.id)}))
    stored = await turn_store.load(database, turn.id)
    assert stored
    assert stored.open
    with pytest.raises(AttributeError):
        await worker.work(broken, delivery({"job_id": str(turn.id)}, deliveries=3))
    assert (await followed(who, str(turn.id)))[-1][1]["status"] == "failed"
    assert (await history(who, chat))[0]["turn"]["code"] == "ANSWER_FAILED"


async def test_a_database_that_is_lost_at_the_end_costs_no_second_answer(
    person: People,
    database: Database,
    settings: FromStack,
    resources: worker.Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who, found = person(), 0
    reply = worker._reply
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=False) as lost:

        async def cut_off(*given: Any) -> Answer:
            nonlocal found
            found += 1
            answer = await reply(*given)
            row = await lost.row("SELECT pg_backend_pid()")
            assert row
            await database.rows("SELECT pg_terminate_backend(%(pid)s, 5000)", pid=row[0])
            return answer

        monkeypatch.setattr(worker, "_reply", cut_off)
        for stopped in (False, True):
            chat = await begun(who)
            turn = await waiting(database, who, chat)
            if stopped:
                monkeypatch.setattr(worker, "time_limit", no_time)
            before, message = found, delivery({"job_id": str(turn.id)})
            await ride_out(lambda message=message: worker.work(replace(resources, db=lost), message))  # type: ignore[misc]
            assert found == before + 1
            status = (await history(who, chat))[0]["turn"]["status"]
            assert status == ("failed" if stopped else "completed")


@asynccontextmanager
async def no_time(_seconds: float) -> AsyncIterator[None]:
    yield
    raise TimeoutError


async def test_an_answer_that_is_being_found_can_be_stopped(
    person: People, database: Database, resources: worker.Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat)
    began = asyncio.Event()

    async def endless(*_: object) -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(worker, "_reply", endless)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(worker.stop_the_stopped(resources))
        work = tasks.create_task(worker.work(resources, delivery({"job_id": str(turn.id)})))
        await began.wait()
        assert (await who.http.post(f"{CHAT}/{turn.id}/cancel")).json()["status"] in ("processing", "cancelled")
        await work
        watch.cancel()
    assert (await history(who, chat))[-1]["metadata"] == {"cancelled": True}
    late = replace(resources, settings=resources.settings.model_copy(update={"turn_timeout": timedelta(seconds=0.2)}))
    again = await waiting(database, who, chat)
    await worker.work(late, delivery({"job_id": str(again.id)}))
    assert (await history(who, chat))[-1]["turn"]["code"] == "ANSWER_LATE"


async def test_the_gateway_is_told_how_a_turn_ended_when_its_events_are_gone(
    person: People, database: Database, environment: dict[str, str]
) -> None:
    who = person()
    chat = await begun(who)
    job = await send(who, chat, "캔")
    await followed(who, job)
    async with grpc.channel(environment["ECO2_GRPC_CHAT_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        ask = JobStateServiceStub(channel).Get
        (state,) = (await grpc.call(ask, GetJobStatesRequest(job_ids=[job, str(uuid.uuid4()), "x"]))).states
        assert (state.user_id, state.terminal_event) == (str(who.id), b"")
        await database.rows(
            "UPDATE chat.turns SET finished_at = now() - interval '1 minute' WHERE id = %(id)s", id=uuid.UUID(job)
        )
        (state,) = (await grpc.call(ask, GetJobStatesRequest(job_ids=[job]))).states
        event = orjson.loads(state.terminal_event)
        assert (event["stage"], event["result"]["persistence"]["conversation_id"]) == ("done", chat)


async def test_one_keeper_keeps_at_a_time(person: People, talk: Talk, database: Database) -> None:
    who = person()
    turn = await waiting(database, who, await begun(who))
    async with asyncio.timeout(30):
        while True:
            async with work_store.keeping(database) as ours:
                if ours:
                    await database.rows(
                        "UPDATE chat.turns SET created_at = now() - interval '1 hour' WHERE id = %(id)s", id=turn.id
                    )
                    assert await keeper.keep(talk, timedelta(minutes=1)) == {}
                    assert (await turn_store.exchanges(database, [turn.id]))[0].turn.open
                    break
    assert (await followed_from(who, talk, turn))[-1][1]["status"] == "failed", "the keeper of the stack is free again"
