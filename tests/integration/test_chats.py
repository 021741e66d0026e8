"""Chats on the real servers: lists and pages, what another user sees, messages with their turns, copies and removal."""

import asyncio
import unicodedata
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, LiteralString

import orjson
import pytest
from psycopg import AsyncConnection

from eco2.chat import cleanup, store, turn_store
from eco2.chat.turn_store import Answer, Limits, Refused, Said, Turn
from eco2.contracts import uploads
from eco2.contracts.pb.user_data_pb2 import ExportRequest, PurgeRequest
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc
from eco2.core.postgres import Database
from eco2.scan import store as scans
from eco2.scan.job import Job
from eco2.scan.services import Services
from tests.conftest import Person
from tests.redis_server import until

People = Callable[[], Person]
CHAT = "/api/v1/chat"
ENOUGH = Limits(open_turns=5, messages_per_day=1000)


async def begun(who: Person, **body: Any) -> uuid.UUID:
    answer = await who.http.post(CHAT, json=body)
    assert answer.status_code == 201, answer.text
    return uuid.UUID(answer.json()["id"])


async def said(db: Database, chat: uuid.UUID, who: Person, words: str, key: str | None = None) -> Turn:
    turn = await turn_store.submit(db, chat, who.id, Said(words), key, ENOUGH)
    assert isinstance(turn, Turn), turn
    return turn


async def talked(db: Database, chat: uuid.UUID, who: Person, words: str) -> Turn:
    """A message with its answer."""
    turn = await said(db, chat, who, words)
    assert await turn_store.finish(db, turn, "completed", Answer(f"{words}!", intent="waste"))
    return turn


async def test_a_chat_begins_without_a_body_and_gets_its_title_from_the_first_message(
    person: People, database: Database
) -> None:
    who = person()
    answer = await who.http.post(CHAT)
    assert answer.status_code == 201
    assert answer.json()["title"] is None
    chat = uuid.UUID(answer.json()["id"])
    await talked(database, chat, who, f"캔은\n어떻게 버려요? {'아주 ' * 20}")
    (row,) = (await who.http.get(CHAT)).json()["chats"]
    assert row["title"].startswith("캔은 어떻게 버려요? 아주")
    assert (len(row["title"]) <= 40, row["title"][-1], row["message_count"]) == (True, "…", 2)
    assert row["preview"].startswith("캔은")
    assert row["last_message_at"] > row["created_at"]


async def test_titles_are_composed_and_bounded(person: People) -> None:
    who = person()
    named = await who.http.post(CHAT, json={"title": unicodedata.normalize("NFD", "  플라스틱 버리기 ")})
    assert named.json()["title"] == "플라스틱 버리기"
    chat = named.json()["id"]
    decomposed = unicodedata.normalize("NFD", "각" * 100)
    assert (await who.http.patch(f"{CHAT}/{chat}", json={"title": decomposed})).status_code == 204
    assert (await who.http.get(f"{CHAT}/{chat}")).json()["title"] == "각" * 100
    for wrong in ("가" * 101, "   ", "\0"):
        assert (await who.http.patch(f"{CHAT}/{chat}", json={"title": wrong})).status_code == 422


async def test_the_list_goes_through_every_chat_once_also_those_never_talked_in(
    person: People, database: Database
) -> None:
    who = person()
    made = [await begun(who, title=f"{n}") for n in range(7)]
    for chat in (made[2], made[0]):
        await talked(database, chat, who, "캔")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await who.http.get(CHAT, params={"limit": 2, **cursor})).json()
        seen += [chat["id"] for chat in page["chats"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [str(made[n]) for n in (0, 2, 6, 5, 4, 3, 1)]
    assert (await who.http.get(CHAT, params={"cursor": "x"})).json()["code"] == "INVALID_CURSOR"


async def test_pages_of_messages_go_back_and_forth_without_a_gap_or_a_repeat(
    person: People, database: Database
) -> None:
    who = person()
    chat = await begun(who)
    for n in range(5):
        await talked(database, chat, who, f"{n}")
    # The same instant: the id decides.
    await database.rows("UPDATE chat.messages SET created_at = now() WHERE chat_id = %(chat)s", chat=chat)
    whole = (await who.http.get(f"{CHAT}/{chat}")).json()
    assert (len(whole["messages"]), whole["has_more"], whole["next_cursor"]) == (10, False, None)
    everything = [message["id"] for message in whole["messages"]]
    pages: list[list[str]] = []
    page = (await who.http.get(f"{CHAT}/{chat}", params={"limit": 4})).json()
    newest = page["newest_cursor"]
    while True:
        pages.insert(0, [message["id"] for message in page["messages"]])
        if not page["has_more"]:
            break
        page = (await who.http.get(f"{CHAT}/{chat}", params={"limit": 4, "cursor": page["next_cursor"]})).json()
    assert [len(ids) for ids in pages] == [2, 4, 4]
    assert [one for ids in pages for one in ids] == everything
    assert (await who.http.get(f"{CHAT}/{chat}", params={"after": newest})).json()["messages"] == []
    for n in range(2):
        await talked(database, chat, who, f"later {n}")
    later = (await who.http.get(f"{CHAT}/{chat}", params={"after": newest, "limit": 3})).json()
    assert [message["content"] for message in later["messages"]] == ["later 0", "later 0!", "later 1"]
    assert later["has_more"] is True
    rest = (await who.http.get(f"{CHAT}/{chat}", params={"after": later["newest_cursor"]})).json()
    assert [message["content"] for message in rest["messages"]] == ["later 1!"]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)


async def test_another_user_sees_nothing_and_a_deleted_chat_is_gone(person: People, database: Database) -> None:
    who, other = person(), person()
    chat = await begun(who, title="내 것")
    for stranger in (other,):
        answers = [
            await stranger.http.get(f"{CHAT}/{chat}"),
            await stranger.http.patch(f"{CHAT}/{chat}", json={"title": "x"}),
            await stranger.http.delete(f"{CHAT}/{chat}"),
        ]
        assert [(one.status_code, one.json()["code"]) for one in answers] == [(404, "CHAT_NOT_FOUND")] * 3
    assert await turn_store.submit(database, chat, other.id, Said("x"), None, ENOUGH) == Refused("no_chat")
    turn = await said(database, chat, who, "캔")
    assert (await who.http.delete(f"{CHAT}/{chat}")).status_code == 204
    asked = await turn_store.load(database, turn.id)
    assert asked
    assert asked.cancel_asked, "the answer that is being written is to end"
    assert (await who.http.delete(f"{CHAT}/{chat}")).status_code == 404
    assert (await who.http.get(f"{CHAT}/{chat}")).status_code == 404
    assert (await who.http.get(CHAT)).json() == {"chats": [], "next_cursor": None}
    assert await turn_store.submit(database, chat, who.id, Said("x"), None, ENOUGH) == Refused("no_chat")
    assert await turn_store.load_own(database, turn.id, who.id) is None


async def test_a_chat_goes_on_from_a_scan_of_the_same_user_only(
    person: People, database: Database, services: Services
) -> None:
    who, other = person(), person()
    key = uploads.new_key(services.upload_secret, str(who.id), "scan", "jpg")
    job = await scans.add(database, uuid.uuid4(), who.id, uuid.uuid4().hex, key, None, None)
    assert isinstance(job, Job)
    chat = await begun(who, scan_job_id=str(job.id))
    assert (await who.http.get(f"{CHAT}/{chat}")).json()["scan_job_id"] == str(job.id)
    for stranger, scan in ((other, job.id), (who, uuid.uuid4())):
        answer = await stranger.http.post(CHAT, json={"scan_job_id": str(scan)})
        assert (answer.status_code, answer.json()["code"]) == (404, "RESULT_NOT_FOUND")
    await scans.abort(database, job.id)


async def test_chats_of_a_day_have_an_end(database: Database) -> None:
    user = uuid.uuid4()
    made = [await store.add(database, uuid.uuid4(), user, None, None, 2) for _ in range(3)]
    assert [chat is None for chat in made] == [False, False, True]


# --- messages and turns -----------------------------------------------------------------------------------------------


async def test_a_message_that_is_sent_again_is_the_same_turn(person: People, database: Database) -> None:
    who = person()
    chat = await begun(who)
    first = await said(database, chat, who, "캔", key="k")
    assert (await said(database, chat, who, "캔", key="k")).id == first.id
    assert await turn_store.submit(database, chat, who.id, Said("병"), "k", ENOUGH) == Refused("key_reused")
    assert await turn_store.finish(database, first, "completed", Answer("비우세요."))
    assert (await said(database, chat, who, "캔", key="k")).status == "completed"
    double = await said(database, chat, who, "병")
    assert (await said(database, chat, who, "병")).id == double.id, "a double click"
    assert len((await who.http.get(f"{CHAT}/{chat}")).json()["messages"]) == 3


async def test_of_two_messages_at_once_one_is_taken(person: People, database: Database) -> None:
    who = person()
    chat = await begun(who)
    both = await asyncio.gather(
        *(turn_store.submit(database, chat, who.id, Said(f"{n}"), None, ENOUGH) for n in range(2))
    )
    assert sorted(type(one).__name__ for one in both) == ["Refused", "Turn"]
    assert Refused("busy") in both
    (message,) = (await who.http.get(f"{CHAT}/{chat}")).json()["messages"]
    assert (message["turn"]["status"], message["turn"]["error"]) == ("queued", None)


async def test_limits_of_one_user(person: People, database: Database) -> None:
    who = person()
    chats = [await begun(who) for _ in range(3)]
    few = Limits(open_turns=2, messages_per_day=2)
    found = [await turn_store.submit(database, chat, who.id, Said("캔"), None, few) for chat in chats]
    assert found[2] == Refused("open_turns")
    for turn in found[:2]:
        assert isinstance(turn, Turn)
        assert await turn_store.fail(database, turn.id, "X", "x")
    assert await turn_store.submit(database, chats[2], who.id, Said("캔"), None, few) == Refused("messages_per_day")


async def test_a_turn_ends_once_and_a_failed_one_is_tried_again(person: People, database: Database) -> None:
    who = person()
    chat = await begun(who)
    turn = await said(database, chat, who, "캔")
    ends = await asyncio.gather(
        *(turn_store.finish(database, turn, "completed", Answer("비우세요.")) for _ in range(2)),
        turn_store.fail(database, turn.id, "X", "x"),
    )
    assert sorted(ends) == [False, False, True]
    late = await said(database, chat, who, "병")
    assert await turn_store.fail(database, late.id, "ANSWER_LATE", "늦었어요.")
    last = (await who.http.get(f"{CHAT}/{chat}")).json()["messages"][-1]
    assert last["turn"] == {"job_id": str(late.id), "status": "failed", "error": "늦었어요.", "code": "ANSWER_LATE"}
    again = await turn_store.retry(database, chat, late.message_id, who.id, ENOUGH)
    assert isinstance(again, Turn)
    assert (again.id != late.id, again.message_id) == (True, late.message_id)
    assert await turn_store.retry(database, chat, late.message_id, who.id, ENOUGH) == again, "a double click"
    assert await turn_store.retry(database, chat, turn.message_id, who.id, ENOUGH) == Refused("not_retriable")
    assert await turn_store.finish(database, again, "completed", Answer("헹구세요."))
    assert await turn_store.retry(database, chat, late.message_id, who.id, ENOUGH) == Refused("not_retriable")
    contents = [one["content"] for one in (await who.http.get(f"{CHAT}/{chat}")).json()["messages"]]
    assert contents[-2:] == ["병", "헹구세요."]


async def test_what_was_stopped_gives_way_to_the_whole_answer(person: People, database: Database) -> None:
    who = person()
    chat = await begun(who)
    turn = await said(database, chat, who, "캔")
    assert await turn_store.finish(database, turn, "cancelled", Answer("비우", metadata={"cancelled": True}))
    again = await turn_store.retry(database, chat, turn.message_id, who.id, ENOUGH)
    assert isinstance(again, Turn)
    assert await turn_store.finish(database, again, "completed", Answer("비우세요."))
    found = (await who.http.get(f"{CHAT}/{chat}")).json()["messages"]
    assert [one["content"] for one in found] == ["캔", "비우세요."]
    assert (await who.http.get(CHAT)).json()["chats"][0]["message_count"] == 2


async def test_a_place_is_known_until_the_turn_is_tried_again_or_a_day_has_passed(
    person: People, database: Database, services: Services
) -> None:
    who, here = person(), {"latitude": 37.5, "longitude": 127.0}

    async def ended(status: turn_store.Status) -> Turn:
        chat = await begun(who)
        turn = await turn_store.submit(database, chat, who.id, Said("캔", location=here), None, ENOUGH)
        assert isinstance(turn, Turn)
        if status == "failed":
            assert await turn_store.fail(database, turn.id, "X", "x")
        else:
            assert await turn_store.finish(database, turn, status, Answer("비우세요."))
        return turn

    async def known(turn: Turn) -> bool:
        found = await turn_store.load(database, turn.id)
        assert found
        return found.location == here

    assert not await known(await ended("completed"))
    for status in ("failed", "cancelled"):
        turn, left = await ended(status), await ended(status)
        again = await turn_store.retry(database, turn.chat_id, turn.message_id, who.id, ENOUGH)
        assert isinstance(again, Turn)
        assert (again.location, await known(turn)) == (here, False)
        await cleanup.clean(database, services.storage, timedelta(days=1))
        assert await known(left)
        await database.rows(
            "UPDATE chat.turns SET finished_at = now() - interval '25 hours' WHERE id = %(id)s", id=left.id
        )
        await cleanup.clean(database, services.storage, timedelta(days=1))
        assert (await known(left), await known(again)) == (False, True)
        assert await turn_store.fail(database, again.id, "X", "x")


async def waits(db: Database, blocker: AsyncConnection) -> None:
    """Return when another statement waits for the connection's lock."""

    async def blocked() -> bool:
        sql: LiteralString = "SELECT pid FROM pg_stat_activity WHERE %(pid)s = ANY(pg_blocking_pids(pid))"
        return await db.row(sql, pid=blocker.info.backend_pid) is not None

    await until(blocked)


async def test_a_chat_is_deleted_while_its_answer_is_stored(person: People, database: Database) -> None:
    who = person()
    chat = await begun(who)
    turn = await said(database, chat, who, "캔")
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        async with database.connection() as deleting, deleting.transaction():
            values = {"id": chat, "turn": turn.id}
            await deleting.execute("UPDATE chat.sessions SET deleted_at = now() WHERE id = %(id)s", values)
            stored = tasks.create_task(turn_store.finish(database, turn, "completed", Answer("비우세요.")))
            await waits(database, deleting)
            await deleting.execute("UPDATE chat.turns SET cancel_asked_at = now() WHERE id = %(turn)s", values)
        assert await stored


async def test_a_key_that_two_chats_use_at_once_is_taken_by_one(person: People, database: Database) -> None:
    who = person()
    one, other = await begun(who), await begun(who)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        async with database.connection() as first, first.transaction():
            await turn_store._write(first, one, who.id, Said("캔"), "k")
            second = tasks.create_task(turn_store.submit(database, other, who.id, Said("캔"), "k", ENOUGH))
            await waits(database, first)
        assert await second == Refused("key_reused")
    assert (await who.http.get(f"{CHAT}/{other}")).json()["messages"] == []


async def test_the_end_of_a_turn_is_read_by_indexes_alone(person: People, database: Database) -> None:
    who = person()
    turn = await said(database, await begun(who), who, "캔")
    assert await turn_store.finish(database, turn, "completed", Answer("비우세요."))
    (found,) = await turn_store.exchanges(database, [turn.id])
    assert found.answer == "비우세요."
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")  # else it is the way through tables of a few rows
        values = {"ids": [turn.id], "answers": [turn.answer_id]}
        plan = await (await connection.execute(f"EXPLAIN {turn_store.EXCHANGES}", values)).fetchall()
    assert "Seq Scan" not in str(plan)


# --- all of a user ----------------------------------------------------------------------------------------------------


async def photo(services: Services, who: Person) -> str:
    key = uploads.new_key(services.upload_secret, str(who.id), "chat", "jpg")
    await services.storage.public.put(key, b"photo", "image/jpeg")
    return key


async def shown(db: Database, chat: uuid.UUID, who: Person, key: str) -> None:
    turn = await turn_store.submit(db, chat, who.id, Said("이게 뭐예요?", image_key=key), uuid.uuid4().hex, ENOUGH)
    assert isinstance(turn, Turn)
    assert await turn_store.finish(db, turn, "completed", Answer("캔이에요."))


async def test_a_copy_of_all_chats_and_their_removal(
    person: People, database: Database, services: Services, environment: dict[str, str]
) -> None:
    who, other = person(), person()
    chats = [await begun(who, title=f"{n}") for n in range(12)]
    key = await photo(services, who)
    await shown(database, chats[0], who, key)
    kept = await begun(other)
    await who.http.delete(f"{CHAT}/{chats[1]}")
    async with grpc.channel(environment["ECO2_GRPC_CHAT_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        data = UserDataServiceStub(channel)
        first = await grpc.call(data.Export, ExportRequest(user_id=str(who.id)))
        rest = await grpc.call(data.Export, ExportRequest(user_id=str(who.id), cursor=first.next_cursor))
        assert (len(first.records), len(rest.records), rest.next_cursor) == (10, 2, "")
        record = orjson.loads(first.records[0].json)
        assert [(one["role"], one["content"]) for one in record["messages"]] == [
            ("user", "이게 뭐예요?"),
            ("assistant", "캔이에요."),
        ]
        assert record["messages"][0]["image_url"].endswith(key)
        assert (await grpc.call(data.Purge, PurgeRequest(user_id=str(who.id)))).removed == 12
        assert (await grpc.call(data.Purge, PurgeRequest(user_id=str(who.id)))).removed == 0
    assert await services.storage.public.head(key) is None
    left = await database.rows("SELECT user_id FROM chat.sessions WHERE id = ANY(%(ids)s)", ids=[*chats, kept])
    assert [user for (user,) in left] == [other.id]


async def test_deleted_chats_go_for_good_with_the_photos_that_no_other_chat_shows(
    person: People, database: Database, services: Services
) -> None:
    who = person()
    gone, open_, living = [await begun(who) for _ in range(3)]
    alone, shared = await photo(services, who), await photo(services, who)
    for chat, key in ((gone, alone), (gone, shared), (living, shared)):
        await shown(database, chat, who, key)
    await said(database, open_, who, "캔")
    for chat in (gone, open_):
        await who.http.delete(f"{CHAT}/{chat}")
    await cleanup.clean(database, services.storage, timedelta(hours=1))
    assert len(await database.rows("SELECT id FROM chat.sessions WHERE user_id = %(user)s", user=who.id)) == 3
    await cleanup.clean(database, services.storage, timedelta(0))
    rows = await database.rows("SELECT id FROM chat.sessions WHERE user_id = %(user)s", user=who.id)
    assert {chat for (chat,) in rows} == {open_, living}, "one in which a turn runs stays"
    assert await services.storage.public.head(alone) is None
    assert await services.storage.public.head(shared) is not None


async def test_a_foreign_cursor_of_messages_is_refused(person: People) -> None:
    who = person()
    chat = await begun(who)
    for name in ("cursor", "after"):
        answer = await who.http.get(f"{CHAT}/{chat}", params={name: "eA"})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")


@pytest.mark.parametrize("path", ["", "/7d0f6c0a-52c7-4a3e-9a55-0f6a0f3f8f10"])
async def test_nobody_in_particular_is_let_in(person: People, path: str) -> None:
    who = person()
    answer = await who.http.get(f"{CHAT}{path}", headers={"Authorization": ""})
    assert answer.status_code == 401
