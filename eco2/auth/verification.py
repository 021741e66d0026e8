"""`oauth.verify`: the owner of a provider's access token, requested by a worker so that no caller waits for a provider.

The request is cached for TICKET_SECONDS, as long as a message waits in `q.api`; the message carries only its
id, so no token gets into a queue, a dead letter or a log. The outcome is cached for as long, for the caller.

The outcome does not say for which app the token was issued, so it is no proof of a sign-in.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import orjson
from prometheus_client import Counter
from redis.asyncio import Redis

from eco2.auth.oauth import PROVIDERS, NotOffered, Profile, ProviderAway, ProviderRefused, Providers
from eco2.contracts.queues import TASKS_EXCHANGE
from eco2.contracts.tasks import OAUTH_VERIFY
from eco2.core.errors import BadRequest, Unavailable
from eco2.core.stored import Reader
from eco2.messaging.broker import BrokerDown, Publisher

log = logging.getLogger(__name__)

Status = Literal["verified", "refused", "away", "not_offered"]
"""`refused`: the provider says no; `away`: it does not answer."""

TICKET_SECONDS = 300
TOKEN_MAX = 4096
PAUSES = (0.5, 1.0, 2.0)
"""Before each further attempt at a provider that does not answer."""
POLL_SECONDS = 0.1

VERIFICATIONS = Counter("eco2_oauth_verifications_total", "Tokens of providers, by outcome", ["status"])


class UnknownProvider(BadRequest):
    """Name one of kakao, google, naver."""

    code = "PROVIDER_UNKNOWN"


class NoToken(BadRequest):
    """Give the access token of the provider: one line of at most 4,096 characters."""

    code = "TOKEN_MISSING"


class NotVerified(Unavailable):
    """The verification is not done yet; ask again, or see whether api-worker runs."""

    code = "VERIFICATION_PENDING"


@dataclass(frozen=True)
class Ticket:
    """Order of a verification, as it lies in the cache."""

    provider: str
    access_token: str = field(repr=False)


@dataclass(frozen=True)
class Verification:
    """Outcome of a verification; the profile of one that is verified."""

    status: Status
    profile: Profile | None = None
    detail: str | None = None


_TICKET, _OUTCOME = Reader(Ticket), Reader(Verification)


def _ticket(number: str) -> str:
    return f"auth:verify:{number}"


def _outcome(number: str) -> str:
    return f"auth:verified:{number}"


async def order(cache: Redis, publisher: Publisher, provider: str, access_token: str) -> str:
    """Ask for a verification; its id. UnknownProvider, NoToken, BrokerDown."""
    if provider not in PROVIDERS:
        raise UnknownProvider
    if not 0 < len(access_token) <= TOKEN_MAX or not access_token.isascii() or not access_token.isprintable():
        raise NoToken
    number = str(uuid4())
    await cache.set(_ticket(number), orjson.dumps(Ticket(provider, access_token)), ex=TICKET_SECONDS)
    task = OAUTH_VERIFY
    try:
        await publisher.send_task(TASKS_EXCHANGE, task.routing_key, task.name, number, priority=task.priority)
    except BrokerDown:
        await cache.delete(_ticket(number))
        raise
    return number


async def outcome(cache: Redis, number: str, seconds: float) -> Verification:
    """Wait for a verification that was ordered. NotVerified."""
    for _ in range(max(1, int(seconds / POLL_SECONDS))):
        found = await cache.get(_outcome(number))
        if found is not None:
            return _OUTCOME.loads(found)
        await asyncio.sleep(POLL_SECONDS)
    raise NotVerified


async def perform(cache: Redis, providers: Providers, number: str) -> None:
    """The task. A message that comes again asks the provider no second time; one whose ticket is gone asks nothing."""
    ticket, known = await cache.mget(_ticket(number), _outcome(number))
    if known is not None:
        return
    if ticket is None:
        log.warning("a verification came after its time", extra={"verification": number})
        VERIFICATIONS.labels("expired").inc()
        return
    told = await _told(providers, _TICKET.loads(ticket))
    async with cache.pipeline(transaction=True) as both:
        both.set(_outcome(number), orjson.dumps(told), ex=TICKET_SECONDS)
        both.delete(_ticket(number))
        await both.execute()
    VERIFICATIONS.labels(told.status).inc()


async def _told(providers: Providers, asked: Ticket) -> Verification:
    for pause in (*PAUSES, None):
        try:
            profile = await providers.verify(asked.provider, asked.access_token)
        except ProviderRefused as error:
            return _no("refused", error)
        except NotOffered as error:
            return _no("not_offered", error)
        except ProviderAway as error:
            away = error
        else:
            return Verification("verified", profile)
        if pause is not None:
            await asyncio.sleep(pause)
    return _no("away", away)


def _no(status: Status, error: Exception) -> Verification:
    return Verification(status, detail=str(error))
