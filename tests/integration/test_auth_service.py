"""auth-api's rules on the stack's servers, where a test needs other settings or takes a server away."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import aio_pika
import orjson
import pytest
from psycopg import OperationalError
from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from eco2.auth import relay, service, sign_in, store
from eco2.auth.main import open_services
from eco2.auth.oauth import Profile
from eco2.auth.service import Caller, Pair, Services
from eco2.auth.settings import Settings
from eco2.auth.store import Session
from eco2.contracts.pb import auth_pb2
from eco2.contracts.pb.auth_pb2_grpc import SessionServiceStub
from eco2.contracts.queues import REVOCATION_EXCHANGE
from eco2.contracts.revocations import DENIED_STREAM
from eco2.core.grpc import call, channel
from eco2.core.postgres import Database, open_database
from eco2.core.redis import connect
from eco2.core.settings import DatabaseSettings
from eco2.ext_authz.denylist import Denylist, Follower
from eco2.ext_authz.settings import Settings as Edge
from eco2.messaging.broker import Publisher
from tests.conftest import FromStack
from tests.redis_server import RedisServer, private_redis, sentinel_group, until

ME = Caller("192.0.2.1", "a test", "127.0.0.1")


async def forget_grace(db: Database, session: str) -> None:
    """As if every refresh of the session had been long ago."""
    row = await db.row("SELECT replaced FROM auth.sessions WHERE id = %(id)s", id=session)
    assert row is not None
    old = Jsonb([[refresh_id, at - 3600] for refresh_id, at in row[0]])
    await db.run("UPDATE auth.sessions SET replaced = %(old)s WHERE id = %(id)s", id=session, old=old)


@dataclass(frozen=True)
class Revoked:
    reason: str
    until: datetime
    denied_at: datetime | None
    published_at: datetime | None


class Everybody:
    """The users domain, where everybody exists who is not `gone`, and a profile is the user of its name."""

    def __init__(self) -> None:
        self.gone: set[uuid.UUID] = set()

    async def exists(self, user: uuid.UUID) -> bool:
        return user not in self.gone

    async def open_guest(self, user: uuid.UUID, seconds: int) -> None:
        """Everybody is there already."""

    async def find_or_create(self, profile: Profile, guest: uuid.UUID | None = None) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{profile.provider}:{profile.provider_user_id}")


@asynccontextmanager
async def alone(settings: FromStack) -> AsyncIterator[Services]:
    """On a Redis of its own, so that it can be taken away, and that nothing of others is in it."""
    async with private_redis() as url, open_services(settings(Settings)) as services:
        streams = connect(url, retries=0)
        yield replace(services, streams=streams, users=Everybody())  # type: ignore[arg-type]
        await streams.aclose()


@pytest.fixture
async def at(settings: FromStack) -> AsyncIterator[Services]:
    async with alone(settings) as services:
        yield services


async def signed_in(at: Services, user: uuid.UUID | None = None) -> tuple[Session, Pair]:
    session = await store.add_session(
        at.db,
        session_id=uuid.uuid4(),
        user_id=user or uuid.uuid4(),
        provider="kakao",
        role="citizen",
        refresh_id=uuid.uuid4(),
    )
    assert session is not None
    return session, service.pair_of(at, session)


async def denied(redis: Redis) -> list[str]:
    entries: Any = await redis.xrange(DENIED_STREAM)
    return [fields["id"] for _, fields in entries]


async def row_of(at: Services, session: uuid.UUID) -> Revoked:
    sql: LiteralString = "SELECT reason, until, denied_at, published_at FROM auth.revocations WHERE id = %(id)s"
    row = await at.db.row(sql, id=session)
    assert row is not None
    return Revoked(*row)


async def is_over(at: Services, session: uuid.UUID) -> bool:
    row = await at.db.row("SELECT revoked_at FROM auth.sessions WHERE id = %(id)s", id=session)
    assert row is not None
    return row[0] is not None


# Refresh


async def test_parallel_refreshes_get_the_same_pair_to_the_byte(at: Services) -> None:
    _, pair = await signed_in(at)
    pairs = await asyncio.gather(*(service.refresh(at, [pair.refresh]) for _ in range(10)))
    assert len(set(pairs)) == 1
    assert pairs[0].refresh != pair.refresh


async def test_refreshes_that_meet_in_the_database_get_the_same_pair(at: Services, db: Database) -> None:
    """A lock holds the row until all of them wait; one that reads it too early makes another pair."""
    session, pair = await signed_in(at)
    waiting: LiteralString = """SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%%auth.sessions%%'"""

    async def all_wait() -> bool:
        row = await db.row(waiting)
        return row is not None and row[0] >= 3

    async with db.transaction() as holder:
        await holder.rows("SELECT 1 FROM auth.sessions WHERE id = %(id)s FOR UPDATE", id=session.id)
        refreshing = [asyncio.create_task(service.refresh(at, [pair.refresh])) for _ in range(3)]
        await until(all_wait)
    assert len(set(await asyncio.gather(*refreshing))) == 1


async def test_a_late_token_of_the_same_moment_gets_the_newest_pair(at: Services) -> None:
    """One tab refreshes twice while the first request of another is still under way."""
    _, first = await signed_in(at)
    second = await service.refresh(at, [first.refresh])
    third = await service.refresh(at, [second.refresh])
    assert await service.refresh(at, [first.refresh]) == third
    assert await service.refresh(at, [second.refresh]) == third


async def test_a_token_used_again_later_ends_the_session_for_good(at: Services) -> None:
    session, first = await signed_in(at)
    second = await service.refresh(at, [first.refresh])
    await forget_grace(at.db, str(session.id))
    with pytest.raises(service.RefreshRevoked):
        await service.refresh(at, [first.refresh])
    with pytest.raises(service.RefreshRevoked):
        await service.refresh(at, [second.refresh])
    assert await denied(at.streams) == [str(session.id)]
    assert (await row_of(at, session.id)).reason == "reuse"


async def test_a_token_older_than_the_grace_keeps_is_a_reuse(at: Services) -> None:
    session, first = await signed_in(at)
    strict = replace(at, settings=at.settings.model_copy(update={"refresh_grace": timedelta(seconds=-1)}))
    await service.refresh(strict, [first.refresh])
    with pytest.raises(service.RefreshRevoked):
        await service.refresh(strict, [first.refresh])
    assert await is_over(at, session.id)


async def test_who_does_not_exist_any_more_is_404_and_locked_out(at: Services) -> None:
    session, pair = await signed_in(at)
    at.users.gone.add(session.user_id)  # type: ignore[attr-defined]
    with pytest.raises(service.UserGone):
        await service.refresh(at, [pair.refresh])
    assert await denied(at.streams) == [str(session.id)]


async def test_a_refresh_that_meets_a_logout_never_survives_it(at: Services) -> None:
    for _ in range(10):
        session, pair = await signed_in(at)
        results = await asyncio.gather(
            service.refresh(at, [pair.refresh]),
            service.logout(at, [pair.refresh]),
            return_exceptions=True,
        )
        assert results[1] is True
        assert isinstance(results[0], Pair | service.RefreshRevoked)
        assert str(session.id) in await denied(at.streams)
        row = await row_of(at, session.id)
        if isinstance(results[0], Pair):
            assert at.keyring.read(results[0].access).exp < row.until.timestamp()
        with pytest.raises(service.RefreshRevoked):
            await service.refresh(at, [pair.refresh])


# Limits


async def test_a_storm_of_refreshes_is_stopped(at: Services) -> None:
    strict = replace(at, settings=at.settings.model_copy(update={"refreshes_per_minute": 3}))
    _, pair = await signed_in(at)
    _, other = await signed_in(at)
    for _ in range(3):
        pair = await service.refresh(strict, [pair.refresh])
    with pytest.raises(service.TooMany) as refused:
        await service.refresh(strict, [pair.refresh])
    assert 0 < int((refused.value.headers or {})["Retry-After"]) <= 60
    assert await service.refresh(strict, [other.refresh])


def somewhere() -> Caller:
    """A network that nobody has called from."""
    return replace(ME, ip=f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1")


async def start(at: Services, caller: Caller, *browsers: str) -> sign_in.Start:
    return await sign_in.start(at, caller, "kakao", None, None, None, browsers)


NOTHING = sign_in.Answer(None, None, None)


async def test_garbage_from_an_address_locks_nobody_there_out(at: Services) -> None:
    for number in range(605):
        with pytest.raises(service.RefreshInvalid):
            await service.refresh(at, [f"garbage-{number}"])
    _, pair = await signed_in(at)
    assert await service.refresh(at, [pair.refresh])


async def test_a_class_behind_one_address_signs_in_within_a_minute(at: Services) -> None:
    here = somewhere()
    for _ in range(40):
        begun = await start(at, here)
        answer = sign_in.Answer(None, begun.state, "access_denied")
        ending = await sign_in.finish(at, here, "kakao", answer, [begun.browser])
        assert ending.url.endswith("?error=access_denied")


async def test_one_browser_begins_so_often_and_no_more(at: Services) -> None:
    here = somewhere()
    begun = await start(at, here)
    for _ in range(at.settings.sign_ins_per_minute):
        assert (await start(at, here, begun.browser)).browser == begun.browser
    with pytest.raises(service.TooMany) as refused:
        await start(at, here, begun.browser)
    assert 0 < int((refused.value.headers or {})["Retry-After"]) <= 60
    assert await start(at, here)


async def test_a_network_begins_so_often_and_no_more(at: Services) -> None:
    strict = replace(at, settings=at.settings.model_copy(update={"sign_ins_per_minute_of_network": 2}))
    here = somewhere()
    for host in ("1", "2"):
        await start(strict, replace(here, ip=here.ip[:-1] + host))
    with pytest.raises(service.TooMany):
        await start(strict, replace(here, ip=here.ip[:-1] + "3"))
    assert await start(strict, somewhere())


async def test_callbacks_of_no_sign_in_are_limited_and_do_not_fill_the_audit(at: Services) -> None:
    limits = {"sign_ins_per_minute": 2, "sign_ins_per_minute_of_network": 4}
    strict, here = replace(at, settings=at.settings.model_copy(update=limits)), somewhere()
    ends = [(await sign_in.finish(strict, here, "kakao", NOTHING, [])).url.partition("=")[2] for _ in range(6)]
    assert ends == ["invalid_state"] * 4 + ["rate_limited"] * 2
    noted = await at.db.rows("SELECT outcome FROM auth.login_audits WHERE ip = %(ip)s", ip=here.ip)
    assert noted == [("invalid_state",)] * 2


async def test_without_the_counters_nobody_is_locked_out(at: Services) -> None:
    _, pair = await signed_in(at)
    lost = replace(at, cache=connect("redis://127.0.0.1:1/0", retries=0))
    assert await service.refresh(lost, [pair.refresh])


# Logout while a server is away


@asynccontextmanager
async def without_redis(at: Services) -> AsyncIterator[Services]:
    lost = connect("redis://127.0.0.1:1/0", retries=0)
    yield replace(at, streams=lost)
    await lost.aclose()


async def publisher_of(settings: FromStack, stack: AsyncExitStack) -> Publisher:
    publisher = Publisher(settings(Settings).broker_url)
    stack.push_async_callback(publisher.close)
    return publisher


async def test_a_logout_without_the_list_is_no_success_but_not_lost(at: Services, settings: FromStack) -> None:
    session, pair = await signed_in(at)
    async with without_redis(at) as lost:
        with pytest.raises(service.NotLockedOut):
            await service.logout(lost, [pair.access, pair.refresh])
    assert at.undelivered.is_set()
    assert await is_over(at, session.id)
    with pytest.raises(service.RefreshRevoked):
        await service.refresh(at, [pair.refresh])
    row = await row_of(at, session.id)
    assert row.denied_at is None
    async with AsyncExitStack() as stack:
        publisher = await publisher_of(settings, stack)
        await relay.deliver(at, publisher, timedelta(0))
    row = await row_of(at, session.id)
    assert row.denied_at is not None
    assert row.published_at is not None
    assert str(session.id) in await denied(at.streams)


async def test_a_second_logout_tries_the_list_again(at: Services) -> None:
    session, pair = await signed_in(at)
    async with without_redis(at) as lost:
        with pytest.raises(service.NotLockedOut):
            await service.logout(lost, [pair.refresh])
        with pytest.raises(service.NotLockedOut):
            await service.end_all(lost, session.user_id, "again")
    assert await service.end_all(at, session.user_id, "again") == 0
    assert await denied(at.streams) == [str(session.id)]


async def test_a_logout_without_the_database_is_an_error_and_changes_nothing(at: Services) -> None:
    session, pair = await signed_in(at)
    nowhere = DatabaseSettings(database_url="postgresql://a:b@127.0.0.1:1/c")
    async with open_database(nowhere, repeat=True) as db:
        with pytest.raises(OperationalError):
            await service.logout(replace(at, db=db), [pair.access, pair.refresh])
    assert not await is_over(at, session.id)
    assert await denied(at.streams) == []


async def test_without_a_broker_the_list_has_it_and_the_outbox_keeps_it(at: Services, settings: FromStack) -> None:
    session, pair = await signed_in(at)
    assert await service.logout(at, [pair.access, pair.refresh]) is True
    assert await denied(at.streams) == [str(session.id)]
    broken = Publisher("amqp://a:b@127.0.0.1:1/eco2")
    await relay.deliver(at, broken, timedelta(0))
    row = await row_of(at, session.id)
    assert row.denied_at is not None
    async with AsyncExitStack() as stack:
        publisher = await publisher_of(settings, stack)
        await relay.deliver(at, publisher, timedelta(0))
    assert (await row_of(at, session.id)).published_at is not None
    assert (await denied(at.streams)).count(str(session.id)) == 1


async def test_while_the_list_is_away_a_revocation_is_broadcast_again_and_again(
    at: Services, settings: FromStack
) -> None:
    """For a process that starts meanwhile and cannot read it there."""
    session, pair = await signed_in(at)
    async with without_redis(at) as lost, AsyncExitStack() as stack:
        with pytest.raises(service.NotLockedOut):
            await service.logout(lost, [pair.access])
        publisher = await publisher_of(settings, stack)
        connection = await stack.enter_async_context(await aio_pika.connect(settings(Settings).broker_url))
        tap = await (await connection.channel()).declare_queue(exclusive=True)
        await tap.bind(REVOCATION_EXCHANGE)
        for times in (1, 2, 3):
            await relay.deliver(lost, publisher, timedelta(0))
            assert (await row_of(at, session.id)).denied_at is None
            heard = 0
            async with asyncio.timeout(5):
                while not heard:
                    message = await tap.get(no_ack=True, fail=False)
                    heard += message is not None and str(session.id) in message.body.decode()
            assert heard == 1, times
        await relay.deliver(at, publisher, timedelta(0))
    assert (await row_of(at, session.id)).denied_at is not None


# A Redis that has forgotten


async def test_a_list_is_complete_only_on_the_server_it_was_written_to(at: Services) -> None:
    session, pair = await signed_in(at)
    async with RedisServer() as server:
        forgetful = replace(at, streams=connect(server.url, retries=0))
        await relay.complete(forgetful)
        await service.logout(forgetful, [pair.access])
        run_id, complete_on = await store.run_id_and_complete(forgetful.streams)
        assert run_id == complete_on
        await server.kill()
        await server.start()
        again = replace(at, streams=connect(server.url, retries=0))
        run_id, complete_on = await store.run_id_and_complete(again.streams)
        assert complete_on != run_id
        assert await denied(again.streams) == []
        await relay.complete(again)
        run_id, complete_on = await store.run_id_and_complete(again.streams)
        assert complete_on == run_id
        assert str(session.id) in await denied(again.streams)
        for used in (forgetful, again):
            await used.streams.aclose()


async def test_a_failover_lets_nobody_back_in(at: Services) -> None:
    """The master with the list dies: who is denied stays denied, a logout meanwhile is in force or says that it is not,
    and the new master is believed once all is written to it."""
    early, early_pair = await signed_in(at)
    late, late_pair = await signed_in(at)
    async with sentinel_group() as group, AsyncExitStack() as stack:
        streams = connect(group.url(), retries=0, socket_timeout=1.0)
        following = connect(group.url(), retries=0, socket_timeout=1.0)
        for client in (streams, following):
            stack.push_async_callback(client.aclose)
        there = replace(at, streams=streams)
        broken = Publisher("amqp://a:b@127.0.0.1:1/eco2")
        denylist = Denylist(Edge(redis_streams_url=group.url(), broker_url="amqp://a:b@127.0.0.1:1/eco2"))
        tasks = [
            asyncio.create_task(relay.run(there, broken)),
            asyncio.create_task(Follower(denylist, following, "amqp://a:b@127.0.0.1:1/eco2").run()),
        ]
        try:
            await service.logout(there, [early_pair.access])
            await until(lambda: _denies(denylist, early), 5)
            assert await streams.wait(1, 2000) == 1
            await group.master.kill()
            try:
                await service.logout(there, [late_pair.access])
            except service.NotLockedOut:
                assert str(late.id) not in denylist or denylist.stale
            async with connect(f"redis://:s3cret@127.0.0.1:{group.replica.port}/0") as replica:

                async def complete() -> bool:
                    assert str(early.id) in denylist
                    run_id, complete_on = await store.run_id_and_complete(replica)
                    return complete_on == run_id

                await until(complete, 30)
                assert {str(early.id), str(late.id)} <= set(await denied(replica))
            await until(lambda: _denies(denylist, late), 30)
            assert str(early.id) in denylist
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _denies(denylist: Denylist, session: Session) -> bool:
    return str(session.id) in denylist and not denylist.stale


async def test_entries_go_when_no_token_can_be_that_old(at: Services) -> None:
    session, pair = await signed_in(at)
    await service.logout(at, [pair.access])
    ttl = await at.streams.ttl(DENIED_STREAM)
    access = int(at.settings.access_ttl.total_seconds())
    assert access < ttl <= access + 60
    row = await row_of(at, session.id)
    assert access - 5 < row.until.timestamp() - time.time() < access + 10


# Other services


async def test_a_service_ends_the_sessions_that_began_before(at: Services, environment: dict[str, str]) -> None:
    user = uuid.uuid4()
    (old, _), (second, _) = await signed_in(at, user), await signed_in(at, user)
    early = datetime.now(UTC) - timedelta(hours=1)
    await at.db.run("UPDATE auth.sessions SET created_at = %(early)s WHERE id = %(id)s", id=old.id, early=early)
    request = auth_pb2.RevokeAllRequest(user_id=str(user), reason="account_deleted")
    request.issued_before.FromDatetime(early + timedelta(seconds=1))
    async with channel(environment["ECO2_GRPC_AUTH_API"], environment["ECO2_SERVICE_SECRET"]) as opened:
        stub = SessionServiceStub(opened)
        assert (await call(stub.RevokeAll, request)).revoked == 1
        assert (await call(stub.RevokeAll, request)).revoked == 0
    assert await is_over(at, old.id)
    assert not await is_over(at, second.id)
    assert (await row_of(at, old.id)).reason == "account_deleted"


def test_emulated_providers_are_refused_outside_of_the_local_stack(settings: FromStack) -> None:
    given = settings(Settings).model_dump()
    Settings(**given)
    with pytest.raises(ValueError, match="emulated providers let anybody in"):
        Settings(**{**given, "environment": "prod"})


async def test_a_sign_in_of_the_web_is_kept_as_the_release_before_reads_it(at: Services) -> None:
    """During a roll-out the callback may come to it."""
    begun = store.SignIn("kakao", "http://api.test/back", "http://web.test", "v" * 43, "b" * 64, None)
    state = uuid.uuid4().hex
    await store.keep_sign_in(at.cache, state, begun, 60)
    kept = [key async for key in at.cache.scan_iter(f"*{state}*")]
    (stored,) = [orjson.loads(await at.cache.get(key) or b"") for key in kept]
    assert stored.keys() == {"provider", "redirect_uri", "frontend", "verifier", "browser", "device_id"}
    assert await store.sign_in(at.cache, state) == begun
