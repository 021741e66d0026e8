"""Outbox of messages to other services: committed with their change, delivered after it, never lost.

A message is leased, delivered, then deleted; after a crash in between another process delivers it. So each may arrive
more than once, and late: its effect can be repeated, and a newer state of the receiver is kept.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import Counter, Gauge

from eco2.contracts.grants import DEFAULT_CHARACTER, Grant
from eco2.contracts.pb import auth_pb2, scan_pb2, user_data_pb2
from eco2.contracts.queues import REWARD_EXCHANGE, REWARD_QUEUE
from eco2.core import grpc
from eco2.core.errors import AWAY, Unavailable
from eco2.core.postgres import Database
from eco2.core.turns import PerMinute
from eco2.knowledge.districts import Districts
from eco2.messaging.broker import Publisher
from eco2.my import store
from eco2.my.messages import Claim, Left, Preferred, Purge, SignedUp
from eco2.my.store import OutboxMessage

if TYPE_CHECKING:
    from eco2.contracts.pb.auth_pb2_grpc import SessionServiceAsyncStub
    from eco2.contracts.pb.scan_pb2_grpc import PreferencesServiceAsyncStub
    from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceAsyncStub

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL_SECONDS = 2.0
"""Delay with which a message is noticed that another process wrote, or that was postponed."""
LEASE = timedelta(minutes=2)
BATCH = 20
PURGE_SECONDS = 60.0
PAUSES = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds until a message that could not be delivered is tried again, by its attempts."""

MESSAGES = Counter("eco2_outbox_letters_total", "Deliveries to other services", ["kind", "outcome"])
CLAIMED = Counter("eco2_guest_claims_total", "Jobs, photos and chats of guests that became those of a user")
OLDEST = Gauge("eco2_outbox_oldest_seconds", "Age of the oldest message that is not delivered; 0 without one")


class NotConnected(Unavailable):
    """The service that has to be told is not configured here."""


@dataclass(frozen=True)
class Others:
    """The services that are told. `data`: process → its UserDataService. None: not configured, messages to it wait."""

    publisher: Publisher
    sessions: "SessionServiceAsyncStub | None"
    scan: "PreferencesServiceAsyncStub"
    data: "Mapping[str, UserDataServiceAsyncStub]"


async def _survive(work: Awaitable[T]) -> T | None:
    """Return the result of the work; None when it failed and is left to the next round."""
    try:
        return await work
    except tuple(AWAY) as error:
        log.warning("the outbox is out of reach: %s", str(error).partition("\n")[0])
    except Exception:
        log.exception("the outbox failed")
    return None


@dataclass
class Outbox:
    db: Database
    others: Others
    purge_after: timedelta
    purge_interval: timedelta

    def __post_init__(self) -> None:
        self._bells = {kind: asyncio.Event() for kind in _KINDS}

    def ring(self) -> None:
        """Wake the relay; to be called after the commit, so that a message does not wait for the next look."""
        for bell in self._bells.values():
            bell.set()

    async def run(self) -> None:
        """Until cancelled. Each kind has a loop of its own, so that none waits for a service that another needs."""
        async with asyncio.TaskGroup() as tasks:
            for kind in _KINDS:
                tasks.create_task(self._run(kind))
            tasks.create_task(self._run_purge())

    async def _run(self, kind: str) -> None:
        while True:
            self._bells[kind].clear()
            if await _survive(self.deliver(kind)):
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._bells[kind].wait()

    async def _run_purge(self) -> None:
        while True:
            await _survive(self.purge())
            await _survive(self.measure())
            await asyncio.sleep(self.purge_interval.total_seconds())

    async def purge(self) -> None:
        """Begin the purge of the accounts whose time is over, end that of those whom every service has forgotten."""
        async with self.db.transaction() as tx:
            users = await store.start_purge(tx, self.purge_after, BATCH)
            for user in users:
                claimed = await store.claimed_by(tx, user)
                for name in self.others.data:
                    # auth-api has nothing to claim: the sessions of a guest are deleted.
                    body = Claim if claimed and name != "auth-api" else Purge
                    await store.tell(tx, user, body(service=name))
        gone = await store.drop_purged(self.db)
        for user in gone:
            log.info("account purged", extra={"user": str(user)})
        self.ring()

    async def measure(self) -> None:
        """Note the age of the oldest message."""
        OLDEST.set(await store.oldest_message(self.db))

    async def deliver(self, kind: str) -> int:
        """Deliver due messages, at most a batch; returns the number of attempts."""
        async with self.db.transaction() as tx:
            messages = await store.take_messages(tx, kind, LEASE, BATCH)
        await asyncio.gather(*(self._deliver(message) for message in messages))
        return len(messages)

    async def _deliver(self, message: OutboxMessage) -> None:
        try:
            await _KINDS[message.kind](self, message)
        except Exception as error:
            pause = timedelta(seconds=PAUSES[min(message.attempts, len(PAUSES)) - 1])
            fields = {"kind": message.kind, "user": str(message.user_id), "attempts": message.attempts}
            if isinstance(error, tuple(AWAY)):
                log.warning("not delivered yet: %s", str(error).partition("\n")[0], extra=fields)
            else:
                log.exception("not delivered", extra=fields)
            MESSAGES.labels(message.kind, "postponed").inc()
            await store.postpone(self.db, message.id, pause)
        else:
            MESSAGES.labels(message.kind, "delivered").inc()
            await store.delivered(self.db, message.id)

    async def _grant(self, message: OutboxMessage) -> None:
        grant = Grant(
            job_id=None,
            user_id=message.user_id,
            character_code=DEFAULT_CHARACTER,
            source="signup",
            earned_at=SignedUp.model_validate(message.body).earned_at,
        )
        body = grant.model_dump(mode="json")
        await self.others.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, f"signup-{message.user_id}")

    async def _preferences(self, message: OutboxMessage) -> None:
        found = await store.preferences(self.db, message.user_id)
        if found is None:
            return
        version, language, district = found
        request = scan_pb2.PutRequest(
            user_id=str(message.user_id), version=version, language=language, district=district
        )
        await grpc.call(self.others.scan.Put, request)

    async def _revoke(self, message: OutboxMessage) -> None:
        if self.others.sessions is None:
            raise NotConnected
        request = auth_pb2.RevokeAllRequest(user_id=str(message.user_id), reason="account_deleted")
        request.issued_before.FromDatetime(Left.model_validate(message.body).issued_before.astimezone(UTC))
        await grpc.call(self.others.sessions.RevokeAll, request)

    async def _purge(self, message: OutboxMessage) -> None:
        service = self.others.data.get(Purge.model_validate(message.body).service)
        if service is None:
            raise NotConnected
        request = user_data_pb2.PurgeRequest(user_id=str(message.user_id))
        await grpc.call(service.Purge, request, timeout=PURGE_SECONDS)

    async def _claim(self, message: OutboxMessage) -> None:
        service = self.others.data.get(Claim.model_validate(message.body).service)
        if service is None:
            raise NotConnected
        user = await store.claimed_by(self.db, message.user_id)
        if user is None:  # the user who claimed it was deleted meanwhile
            await self._purge(message)
            return
        request = user_data_pb2.ClaimRequest(guest_id=str(message.user_id), user_id=str(user))
        answer = await grpc.call(service.Claim, request, timeout=PURGE_SECONDS)
        CLAIMED.inc(answer.claimed)


_KINDS: Mapping[str, Callable[[Outbox, OutboxMessage], Awaitable[None]]] = {
    SignedUp.kind: Outbox._grant,
    Preferred.kind: Outbox._preferences,
    Left.kind: Outbox._revoke,
    Purge.kind: Outbox._purge,
    Claim.kind: Outbox._claim,
}


@dataclass(frozen=True)
class Services:
    """Dependencies of my-api."""

    db: Database
    outbox: Outbox
    districts: Districts
    cookie_domain: str | None
    exports: PerMinute
    """Copies of everything, for which every service is asked."""
    changes: PerMinute
    """Of profile and preferences: each of the latter is a message to be delivered."""
