"""Messages of the outbox arrive, whatever fails: on a database of its own, with services that fail."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, LiteralString

import pytest

from eco2.contracts.identity import guest_id
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
        """Count its messages about the user; others may be there from other tests."""
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

    async def claim(self, guest: uuid.UUID, user: uuid.UUID) -> int:
        self._note(user_data_pb2.ClaimRequest(guest_id=str(guest), user_id=str(user)))
        return 1

    def claims(self, guest: uuid.UUID) -> list[str]:
        """The users to whom the guest's data was given."""
        found = [one for one in self.told if isinstance(one, user_data_pb2.ClaimRequest)]
        return [one.user_id for one in found if one.guest_id == str(guest)]


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
        user_data.NAME: user_data.register(elsewhere.export, elsewhere.purge, elsewhere.claim),
    }
    settings = Settings(grpc_port=port, shutdown_grace=timedelta(seconds=1))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(grpc.serving(settings, services))
        channel = await stack.enter_async_context(grpc.channel(f"127.0.0.1:{port}", None))

        def build(broker_url: str = environment["ECO2_BROKER_URL"], purge_after: timedelta = timedelta(0)) -> Outbox:
            publisher = Publisher(broker_url)
            stack.push_async_callback(publisher.close)
            data = {name: UserDataServiceStub(channel) for name in KEEPERS}
            others = Others(publisher, SessionServiceStub(channel), PreferencesServiceStub(channel), data)
            return Outbox(own, others, purge_after, timedelta(seconds=0.2))

        yield build


KEEPERS = ("one", "two")


async def sign_in(own: Database, known_as: str | None = None, guest: uuid.UUID | None = None) -> uuid.UUID:
    name = known_as or uuid.uuid4().hex
    async with own.transaction() as tx:
        account, _, _ = await service.sign_in(tx, "google", name, None, None, None, guest, KEEPERS)
    return account.id


async def guest_in(own: Database, over: bool = False) -> uuid.UUID:
    """A guest; `over`: whose session has ended."""
    guest = guest_id(uuid.uuid4())
    async with own.transaction() as tx:
        await service.open_guest(tx, guest, 3600)
    if over:
        await end_of(own, guest)
    return guest


async def end_of(own: Database, guest: uuid.UUID) -> None:
    sql: LiteralString = "UPDATE users.accounts SET guest_until = now() - interval '1 hour' WHERE id = %(guest)s"
    await own.run(sql, guest=guest)


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


async def test_a_deleted_account_is_reminded_no_more(own: Database) -> None:
    user = await sign_in(own)
    async with own.transaction() as tx:
        await service.leave(tx, user, ("one", service.REMINDERS))
    sql: LiteralString = "SELECT body ->> 'service' FROM users.outbox WHERE user_id = %(user)s AND kind = 'purge'"
    assert await own.rows(sql, user=user) == [("recycling-api",)]
    await own.run("DELETE FROM users.outbox WHERE user_id = %(user)s", user=user)


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


async def test_what_a_guest_left_goes_when_the_session_is_over(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    here, gone = await guest_in(own), await guest_in(own, over=True)
    ours = make(purge_after=timedelta(days=30))
    await ours.purge()
    while await ours.deliver("purge"):
        pass
    await ours.purge()
    assert (elsewhere.about(here), elsewhere.about(gone)) == (0, 2)
    assert (await known(own, here), await known(own, gone)) == (True, False)


async def all_delivered(ours: Outbox, kind: str) -> None:
    while await ours.deliver(kind):
        pass


async def test_a_claim_waits_for_the_service_that_is_away(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    guest = await guest_in(own)
    user = await sign_in(own, guest=guest)
    elsewhere.failing = True
    ours = make()
    await all_delivered(ours, "claim")
    assert elsewhere.claims(guest) == []
    elsewhere.failing = False
    await due_now(own)
    await all_delivered(ours, "claim")
    assert elsewhere.claims(guest) == [str(user)] * 4, "at once and a while later, each of two services"


async def test_what_was_claimed_is_claimed_again_at_the_end_and_nothing_is_purged(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    guest = await guest_in(own)
    user = await sign_in(own, guest=guest)
    await end_of(own, guest)
    ours = make(purge_after=timedelta(days=30))
    await ours.purge()
    assert await messages(own, guest) == ["claim", "claim"]
    await all_delivered(ours, "claim")
    await ours.purge()
    assert elsewhere.claims(guest) == [str(user)] * 2
    assert (await known(own, guest), await known(own, user)) == (False, True)


async def test_a_guest_is_claimed_by_one_user_however_often(own: Database, make: Callable[..., Outbox]) -> None:
    guest, known_as = await guest_in(own), uuid.uuid4().hex
    first = await sign_in(own, known_as, guest)
    told = len(await messages(own, guest))
    await sign_in(own, guest=guest)
    assert len(await messages(own, guest)) == told
    assert await store.claimed_by(own, guest) == first
    await sign_in(own, known_as, guest)
    assert len(await messages(own, guest)) > told, "its own user may claim again what came late"


async def test_nobody_claims_an_account_or_a_guest_that_is_being_purged(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    victim, gone = await sign_in(own), await guest_in(own, over=True)
    await make(purge_after=timedelta(days=30)).purge()
    for one in (victim, gone, uuid.uuid4()):
        await sign_in(own, guest=one)
        assert await store.claimed_by(own, one) is None


async def test_what_a_guest_left_goes_when_its_user_has_gone(
    own: Database, make: Callable[..., Outbox], elsewhere: Elsewhere
) -> None:
    guest = await guest_in(own)
    user = await sign_in(own, guest=guest)
    async with own.transaction() as tx:
        await service.leave(tx, user)
    ours = make()
    await ours.purge()
    await due_now(own)
    await all_delivered(ours, "claim")
    assert elsewhere.claims(guest) == []
    await end_of(own, guest)
    await ours.purge()
    assert await messages(own, guest) == ["purge", "purge"]
