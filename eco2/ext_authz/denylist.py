"""The denylist in memory: from broadcasts of the fanout, and from the list that auth-api keeps in Redis.

The broadcasts are fast, the list is complete: it is a stream, followed from its beginning, so nothing is missed between
two reads, whatever happened to the broker. A Redis that auth-api has not declared complete is not believed. What was
learnt once is kept until it expires, whatever is read later. The clock of this machine decides nothing: an entry of the
list expires by the clock of the server that it was read from, one that was only heard when no token can be so old.
"""

import asyncio
import logging
import time

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from prometheus_client import Counter, Gauge
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.identity import LONGEST_ACCESS_SECONDS
from eco2.contracts.queues import REVOCATION_EXCHANGE
from eco2.contracts.revocations import Revocation
from eco2.core.revocations import READ_SECONDS, DeniedList
from eco2.ext_authz.settings import Settings
from eco2.messaging.broker import BROKER_ERRORS, open_connection, pass_on_cancellation

log = logging.getLogger(__name__)

RESNAPSHOT_SECONDS = 600.0
CONNECT_PAUSES = (0.2, 0.5, 1.0, 2.0)
HEARTBEAT_SECONDS = 10
"""Of the broker's connection: a dead one is noticed within twice as long."""

DENIED = Gauge("eco2_authz_denied", "Revoked sessions in memory")
LEARNT = Counter("eco2_authz_revocations_total", "Revocations, by where they were first seen", ["source"])
FRESH = Gauge("eco2_authz_list_age_seconds", "Since the denylist was last read")


class Denylist:
    """Ids of sessions (or tokens) that do not count any more, and whether the list can be trusted now."""

    def __init__(self, settings: Settings) -> None:
        self._until: dict[str, float] = {}
        """In monotonic seconds."""
        self._only_heard: set[str] = set()
        self._stale_after = settings.stale_after.total_seconds()
        self._stale_after_unheard = settings.stale_after_unheard.total_seconds()
        self._read_at = self._heard_since = float("-inf")
        self._hears = False
        self.good_until = float("-inf")
        """In monotonic seconds; no request passes after that."""
        FRESH.set_function(lambda: time.monotonic() - self._read_at)
        DENIED.set_function(lambda: len(self._until))

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, token: str) -> bool:
        return token in self._until

    def hear(self, token: str) -> None:
        """It is in the list too, or will be, which says for how long."""
        if token not in self._until:
            LEARNT.labels("broadcast").inc()
            self._until[token] = time.monotonic() + LONGEST_ACCESS_SECONDS
            self._only_heard.add(token)

    def read(self, token: str, seconds: float) -> None:
        """It is in the list, and counts for so long."""
        until = time.monotonic() + seconds
        if token not in self._until:
            if seconds <= 0:
                return
            LEARNT.labels("list").inc()
        elif token not in self._only_heard:
            # The list of a server that took over may be judged by another clock: nothing is forgotten earlier for that.
            until = max(until, self._until[token])
        self._until[token] = until
        self._only_heard.discard(token)

    def forget_expired(self) -> None:
        now = time.monotonic()
        for token in [token for token, until in self._until.items() if until < now]:
            del self._until[token]
            self._only_heard.discard(token)

    def was_read(self, at: float) -> None:
        """Everything that was in the list at that time is known."""
        self._read_at = at
        self._judge()

    def hears(self, hears: bool) -> None:
        self._hears, self._heard_since = hears, time.monotonic()
        self._judge()

    def _judge(self) -> None:
        # Broadcasts make up for a list that is away only if none was missed since it was last read.
        unbroken = self._hears and self._heard_since <= self._read_at
        self.good_until = self._read_at + (self._stale_after if unbroken else self._stale_after_unheard)

    @property
    def stale(self) -> bool:
        return time.monotonic() > self.good_until

    async def check_ready(self) -> None:
        """Raises before the list was read for the first time, and when that is too long ago."""
        if self.stale:
            raise RuntimeError("the denylist is not known, or too old")


class Follower:
    """Keeps a Denylist up to date; `run` until cancelled."""

    def __init__(self, denylist: Denylist, redis: Redis, broker_url: str) -> None:
        self._denylist, self._broker_url = denylist, broker_url
        self._list = DeniedList(redis)
        self._wanted = asyncio.Event()
        self._snapshot_at = float("-inf")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._follow())

    # The broadcasts

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                connection = await open_connection(self._broker_url, heartbeat=HEARTBEAT_SECONDS)
                async with connection:
                    await self._hear(await connection.channel())
                failures = 0
            except BROKER_ERRORS as error:
                pass_on_cancellation()
                log.warning("the broadcasts of revocations are not heard: %r", error)
            await asyncio.sleep(CONNECT_PAUSES[min(failures, len(CONNECT_PAUSES) - 1)])
            failures += 1

    async def _hear(self, channel: aio_pika.abc.AbstractChannel) -> None:
        """Returns when the channel has closed."""
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(REVOCATION_EXCHANGE)
        await queue.consume(self._on_message, no_ack=True)
        self._denylist.hears(True)
        self._wanted.set()  # what was broadcast before this moment is in the list
        try:
            await channel.closed()
        finally:
            self._denylist.hears(False)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        try:
            row = Revocation.model_validate_json(message.body)
        except ValidationError as error:
            log.error("no revocation of the contract: %s", error)
            return
        self._denylist.hear(str(row.id))

    # The list

    async def _follow(self) -> None:
        while True:
            try:
                while await self.read():
                    pass
            except RedisError as error:
                log.warning("the denylist is away: %s", error)
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()

    async def read(self) -> bool:
        """Read new entries of the list, or all of it when due; True when there is more. RedisError."""
        began = time.monotonic()
        if began - self._snapshot_at > RESNAPSHOT_SECONDS:
            self._list.restart()
            self._snapshot_at = began
            self._denylist.forget_expired()
        page = await self._list.read()
        for entry in page.entries:
            self._denylist.read(entry.session, entry.until - page.now)
        if page.complete and not page.more:
            self._denylist.was_read(began)
        return page.more
