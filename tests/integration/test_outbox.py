"""What other services have to be told arrives, whatever fails: on a database of its own, with services that fail."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from eco2.contracts.pb import auth_pb2, scan_pb2, user_data_pb2
from eco2.contracts.pb.auth_pb2_grpc import (
    SessionServiceServicer,
    SessionServiceStub,
    add_SessionServiceServicer_to_server,
)
from eco2.contracts.pb.scan_pb2_grpc import (
    PreferencesServiceServicer,
    PreferencesServiceStub,
    add_PreferencesServiceServicer_to_server,
)
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc, migrations, user_data
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, Settings
from eco2.knowledge.districts import Districts
from eco2.messaging.broker import Publisher
from eco2.my import outbox as outbox_module
from eco2.my import service, store
from eco2.my.outbox import Others, Outbox
from tests.databases import new_database
from tests.redis_server import free_port, until

DISTRICTS = Districts.load(None)


class Elsewhere(SessionServiceServicer, PreferencesServiceServicer):
    """auth-api, scan-api and another keeper of data, as one server that notes what it is told, or fails."""

    def __init__(self) -> None:
        self.failing = False
        self.told: list[Any] = []

    def about(self, user: uuid.UUID) -> int:
        """How often it was told of the user; others may be there from other tests."""
        return [request.user_id for request in self.told].count(str(user))

    def _note(self, what: Any) -> None:
        if self.failing:
            raise RuntimeError("not today")
        self.told.append(what)

    async def RevokeAll(self, request: Any, context: object) -> auth_pb2.RevokeAllResponse:  # noqa: N802
        self._note(request)
        return auth_pb2.RevokeAllResponse()

    async def Put(self, request: Any, context: object) -> scan_pb2.PutResponse:  # noqa: N802
        self._note(request)
        return scan_pb2.PutResponse()

    async def export(self, user: uuid.UUID, cursor: str) -> tuple[user_data.Records, str]:
        raise NotImplementedError

    async def purge(self, user: uuid.UUID) -> int:
        self._note(user_data_pb2.PurgeRequest(user_id=str(user)))
        return 1


@pytest.fixture(scope="module")
async def own(environment: dict[str, str]) -> AsyncIterator[Database]:
    with new_database(environment["ECO2_DATABASE_URL"], "outbox") as url:
        await asyncio.to_thread(migrations.upgrade, url)
        async with open_database(DatabaseSettings(database_url=url), repeat=False) as own:
            yield own


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def make(
    own: Database, elsewhere: Elsewhere, environment: dict[str, str]
) -> AsyncIterator[Callable[..., Outbox]]:
    """Makes the outbox of one more my-api; there may be several."""
    port = free_port()
    services: dict[str, grpc.Register] = {
        "eco2.auth.v1.SessionService": partial(add_SessionServiceServicer_to_server, elsewhere),
        "eco2.scan.v1.PreferencesService": partial(add_PreferencesServiceServicer_to_server, elsewhere),
        user_data.NAME: user_data.register(elsewhere.export, elsewhere.purge),
    }
    settings = Settings(grpc_port=port, shutdown_grace=timedelta(seconds=1))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(grpc.serving(settings, services))
        channel = await stack.enter_async_context(grpc.channel(f"127.0.0.1:{port}", None))

        def build(broker_url: str = environment["ECO2_BROKER_URL"], purge_after: timedelta = timedelta(0)) -> Outbox:
            publisher = Publisher(broker_url)
            stack.push_async_callback(publisher.close)
            data = {name: UserDataServiceStub(channel) for name in ("one", "two")}
            others = Others(publisher, SessionServiceStub(channel), PreferencesServiceStub(channel), data)
            return Outbox(own, others, purge_after, timedelta(seconds=0.2))

        yield build


async def sign_in(own: Database, known_as: str | None = None) -> uuid.UUID:
    async with own.transaction() as tx:
        account, _, _ = await service.sign_in(tx, "google", known_as or uuid.uuid4().hex, None, None, None)
    return account.id


async def messages(own: Database, user: uuid.UUID) -> list[str]:
    rows = await own.rows("SELECT kind FROM users.outbox WHERE user_id = %(user)s ORDER BY id", user=user)
    return [kind for (kind,) in rows]


async def due_now(own: Database) -> None:
    await own.run("UPDATE users.outbox SET due_at = now()")


async def known(own: Database, user: uuid.UUID) -> bool:
    """True while there is a row of the account, deleted or not."""
    return await own.row("SELECT 1 FROM users.accounts WHERE id = %(user)s", user=user) is not None


async def test_a_grant_waits_for_the_broker(own: Database, make: Callable[..., Outbox]) -> None:
    user = await sign_in(own)
    away = make(broker_url=f"amqp://eco2:nobody@127.0.0.1:{free_port()}/eco2")
    assert await away.deliver("grant") == 1
    assert await messages(own, user) == ["grant"]
    assert await away.deliver("grant") == 0  # it has a pause
    await due_now(own)
    assert await make().deliver("grant") == 1
    assert await messages(own, user) == []


async def test_who_dies_while_delivering_leaves_the_letter_to_the_next(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await sign_in(own)
    async with own.transaction() as tx:
        await service.leave(tx, user)
    monkeypatch.setattr(outbox_module, "LEASE", timedelta(seconds=0.5))
    async with own.transaction() as tx:
        taken = await store.take_messages(tx, "revoke", timedelta(seconds=0.5), 10)
    assert [message.user_id for message in taken] == [user]  # and now its process is killed
    other = make()
    assert await other.deliver("revoke") == 0

    async def delivered() -> bool:
        return await other.deliver("revoke") == 1

    await until(delivered, 3)
    assert [request.user_id for request in elsewhere.told] == [str(user)]
    assert "revoke" not in await messages(own, user)


async def test_a_deletion_ends_the_sessions_from_before_it(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    user = await sign_in(own)
    before = datetime.now(UTC)
    async with own.transaction() as tx:
        await service.leave(tx, user)
    elsewhere.failing = True
    ours = make()
    await ours.deliver("revoke")
    assert "revoke" in await messages(own, user)
    elsewhere.failing = False
    await due_now(own)
    await ours.deliver("revoke")
    (request,) = elsewhere.told
    assert (request.user_id, request.reason) == (str(user), "account_deleted")
    told = request.issued_before.ToDatetime(UTC)
    assert before - timedelta(seconds=1) < told < datetime.now(UTC) + timedelta(seconds=1)


async def test_preferences_are_told_as_they_are_now(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    user = await sign_in(own)
    for language in ("en", "ko", "en"):
        async with own.transaction() as tx:
            await service.prefer(tx, DISTRICTS, user, {"language": language, "district": "서울 마포구"})
    assert await make().deliver("preferences") == 3
    assert {(row.version, row.language, row.district) for row in elsewhere.told} == {(3, "en", "서울특별시 마포구")}


async def test_a_letter_is_taken_by_one_of_many(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    users = {await sign_in(own) for _ in range(10)}
    for user in users:
        async with own.transaction() as tx:
            await service.leave(tx, user)
    await asyncio.gather(*(make().deliver("revoke") for _ in range(4)))
    assert sorted(request.user_id for request in elsewhere.told) == sorted(map(str, users))


async def test_a_purge_goes_on_until_everybody_has_forgotten(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    known_as = uuid.uuid4().hex
    user = await sign_in(own, known_as)
    async with own.transaction() as tx:
        await service.leave(tx, user)
    ours = make()
    await ours.purge()
    assert await messages(own, user) == ["purge", "purge"]
    again = await sign_in(own, known_as)
    assert again != user  # too late to come back
    elsewhere.failing = True
    while await ours.deliver("purge"):  # others may be due from other tests
        pass
    await ours.purge()
    assert await known(own, user)
    elsewhere.failing = False
    await due_now(own)
    while await ours.deliver("purge"):
        pass
    await ours.purge()
    assert elsewhere.about(user) == 2
    assert not await known(own, user)
    assert await known(own, again)


async def test_who_signs_in_while_the_purge_begins_is_back_or_new_and_never_in_between(
    own: Database, make: Callable[..., Outbox]
) -> None:
    ours = make()
    for _ in range(15):
        known_as = uuid.uuid4().hex
        user = await sign_in(own, known_as)
        async with own.transaction() as tx:
            await service.leave(tx, user)
        back, _ = await asyncio.gather(sign_in(own, known_as), ours.purge())
        found = await own.row(
            "SELECT user_id FROM users.social_accounts WHERE provider_user_id = %(known_as)s", known_as=known_as
        )
        started = await own.row("SELECT purge_started_at FROM users.accounts WHERE id = %(id)s", id=back)
        assert (found, started) == ((back,), (None,))


async def test_the_running_outbox_delivers_at_once_and_survives_failures(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    ours = make(purge_after=timedelta(days=1))
    running = asyncio.create_task(ours.run())
    try:
        elsewhere.failing = True
        user = await sign_in(own)
        async with own.transaction() as tx:
            await service.prefer(tx, DISTRICTS, user, {"language": "en"})
        ours.ring()
        await asyncio.sleep(0.3)
        elsewhere.failing = False

        async def told() -> bool:
            return elsewhere.about(user) == 1

        await until(told, 5)
        elsewhere.told.clear()
        async with own.transaction() as tx:
            await service.prefer(tx, DISTRICTS, user, {"language": "ko"})
        ours.ring()
        await until(told, 1.5)  # less than POLL_SECONDS: it was rung for
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
