"""A job whose message died fails visibly; the letter itself stays in its queue for the operator."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from eco2.messaging.broker import Heartbeat
from eco2.messaging.consumer import Message, PoisonMessage, watch_dead_letters
from eco2.scan import service
from eco2.scan.failures import GivenUp
from eco2.scan.services import Services


def job_id(message: Message) -> UUID:
    """The only argument of the task. PoisonMessage."""
    try:
        return UUID(orjson.loads(message.body)[0][0])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PoisonMessage(repr(error)) from error


async def dead_letter(services: Services, message: Message) -> None:
    """A stage's message died: delivery limit, too old, or given up by its worker."""
    await service.fail(services, job_id(message), GivenUp())


async def fail_the_dead(
    services: Services, broker_url: str, exchange: str, keys: Sequence[str], heartbeat: Heartbeat
) -> None:
    """See a copy of every dead letter of these keys, for as long as the process lives."""
    await watch_dead_letters(broker_url, exchange, keys, lambda message: dead_letter(services, message), heartbeat)
