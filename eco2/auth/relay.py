"""Sends revocations to every ext-authz: those that a request could not send itself, and those lost by Redis.

Any number of auth-api processes do this side by side. Each step may happen twice, none may be left out.
"""

import asyncio
import logging
import time
from datetime import timedelta
from uuid import UUID

from redis.exceptions import RedisError

from eco2.auth import store
from eco2.auth.service import Services, deny
from eco2.contracts.queues import REVOCATION_EXCHANGE
from eco2.core.errors import AWAY
from eco2.messaging.broker import BrokerDown, Publisher

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
TIDY_SECONDS = 3600.0
BATCH = 200


async def run(at: Services, publisher: Publisher) -> None:
    """Run until cancelled: at once after each revocation, and every second for leftovers."""
    tidied, age = 0.0, timedelta(0)
    while True:
        try:
            at.keyring.reload()
            await complete(at)
            while await deliver(at, publisher, age):
                pass
            if time.monotonic() - tidied > TIDY_SECONDS:
                await tidy(at)
                tidied = time.monotonic()
        except tuple(AWAY | {ValueError}) as error:
            log.warning("revocations wait: %s", str(error).partition("\n")[0])
        # A row without a wake-up is probably in work in another process.
        age = timedelta(0) if await _woken(at.undelivered) else timedelta(seconds=EVERY_SECONDS)


async def _woken(wanted: asyncio.Event) -> bool:
    """False when it was not woken within EVERY_SECONDS."""
    try:
        async with asyncio.timeout(EVERY_SECONDS):
            await wanted.wait()
    except TimeoutError:
        return False
    wanted.clear()
    return True


async def complete(at: Services) -> None:
    """Writes everything again where a Redis that may have lost something answers: it restarted, or it took over."""
    try:
        run_id, complete_on = await store.run_id_and_complete(at.streams)
        if run_id == complete_on:
            return
        rows = await store.in_force(at.db)
        for start in range(0, len(rows), BATCH):
            await deny(at, rows[start : start + BATCH])
        await store.declare_complete(at.streams, run_id)
        log.info("the denylist is complete again", extra={"revocations": len(rows)})
    except (RedisError, TimeoutError) as error:
        log.warning("the denylist cannot be completed: %s", error)


async def deliver(at: Services, publisher: Publisher, age: timedelta) -> bool:
    """One batch of the outbox, of rows at least so old; True when there may be more.

    A row stays until both ways are done. While Redis is away it is published again and again: an ext-authz that starts
    in the meantime hears of it too. No row is locked meanwhile: a broker that is away would delay logouts.
    """
    rows = await store.undelivered(at.db, BATCH, age)
    if not rows:
        return False
    denied = await _deny(at, rows)
    published = await _publish(publisher, rows, denied)
    async with at.db.transaction() as tx:
        if denied:
            await store.mark_denied(tx, [row.id for row in rows if not row.denied])
        await store.mark_published(tx, published)
    return denied and len(published) == len(rows) == BATCH


async def _deny(at: Services, rows: list[store.Pending]) -> bool:
    missing = [row for row in rows if not row.denied]
    try:
        if missing:
            await deny(at, missing)
    except (RedisError, TimeoutError) as error:
        log.warning("the denylist is away: %s", error)
        return False
    return True


async def _publish(publisher: Publisher, rows: list[store.Pending], denied: bool) -> list[UUID]:
    """The ids of revocations that every connected ext-authz has been sent."""
    done = []
    try:
        for row in rows:
            if not row.published or not denied:
                body = row.message().model_dump(mode="json")
                await publisher.send_json(REVOCATION_EXCHANGE, "", body, str(row.id), mandatory=False)
                done.append(row.id)
    except BrokerDown as error:
        log.warning("revocations cannot be broadcast: %s", error)
    return done


async def tidy(at: Services) -> None:
    async with at.db.transaction() as tx:
        await store.forget_old(tx, at.settings.refresh_ttl, at.settings.audit_kept)
