"""The dead letters of both vhosts: look at them, send them again, drop them.

They stay in their queues until somebody decides. Looking takes them out and puts them back, so whoever looks waits for
the one who does already; the letters are in the broker all the time. Sending again publishes with a confirm and then
takes the letter away: dying in between doubles the message, and every consumer does a message's work once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import ChannelLockedResource

from eco2.contracts.queues import (
    DEAD_LETTER_QUEUES,
    Q_AI,
    Q_DLQ,
    REWARD_QUEUE,
    TASK_QUEUES,
    TASKS_EXCHANGE,
    TASKS_VHOST,
    VHOST,
)
from eco2.contracts.tasks import DIED_HEADER, ERROR_HEADER, REPLAYS_HEADER, ROUTING_KEY_HEADER, TRANSIENT_HEADER
from eco2.core.errors import BadRequest, NotFound, Unavailable
from eco2.core.messaging.broker import (
    BROKER_ERRORS,
    PUBLISH_SECONDS,
    BrokerDown,
    open_connection,
    pass_on_cancellation,
)

QUEUES = {VHOST: [queue.name for queue in DEAD_LETTER_QUEUES], TASKS_VHOST: [Q_DLQ]}
TURN = "dead-letters.reader"
TURN_SECONDS, TURN_PAUSE = 20.0, 0.1
MOST = 1000
"""Letters of one queue that are looked at in one go; the oldest come first."""
BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 30, 120, 480))
"""How long after its death a letter is sent again by itself, by how often that was done before."""
RESUMED = {REWARD_QUEUE, *TASK_QUEUES} - {Q_AI}
"""Queues whose work is still wanted when its message has died. A scan has failed by then, and its user knows."""


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; `eco2 dlq list` shows them."""

    code = "LETTER_NOT_FOUND"


class DeadLetterAmbiguous(BadRequest):
    """More than one dead letter begins like that; give more of the id."""

    code = "LETTER_AMBIGUOUS"


class DeadLetterUnroutable(BadRequest):
    """Nothing says where this letter came from, so it cannot be sent there; look at it, then drop it."""

    code = "LETTER_UNROUTABLE"


class DeadLettersBusy(Unavailable):
    """Somebody else looks at the dead letters; try again in a moment."""

    code = "LETTERS_BUSY"


@dataclass(frozen=True)
class Urls:
    """AMQP URLs of the two vhosts."""

    eco2: str
    tasks: str

    def of(self, vhost: str) -> str:
        return {VHOST: self.eco2, TASKS_VHOST: self.tasks}[vhost]


@dataclass(frozen=True)
class DeadLetter:
    """`queue` is where the message died, `held_in` where its letter lies; `deaths` counts this death, too."""

    id: str
    vhost: str
    held_in: str
    queue: str
    exchange: str
    routing_key: str
    reason: str
    error: str | None
    transient: bool
    died_at: datetime
    replays: int
    task: str
    argument: str
    trace_id: str | None
    body: bytes = field(repr=False)
    message: AbstractIncomingMessage = field(repr=False, compare=False)

    @property
    def deaths(self) -> int:
        return self.replays + 1

    @property
    def due_at(self) -> datetime | None:
        """When it is sent again by itself; None: never, a person has to decide."""
        if not self.transient or self.replays >= len(BACK_OFF) or self.queue not in RESUMED:
            return None
        return self.died_at + BACK_OFF[self.replays]

    def public(self) -> dict[str, Any]:
        shown = ("id", "vhost", "held_in", "queue", "task", "argument", "reason", "error", "deaths", "trace_id")
        due = self.due_at
        return {
            **{name: getattr(self, name) for name in shown},
            "died_at": self.died_at.isoformat(timespec="seconds"),
            "again_at": due.isoformat(timespec="seconds") if due else None,
        }


def read(vhost: str, held_in: str, message: AbstractIncomingMessage) -> DeadLetter:
    """Whatever the message is: nonsense is a letter, too."""
    headers: dict[str, Any] = dict(message.headers)
    own = ERROR_HEADER in headers
    death = {} if own else _death(headers)
    key = str(headers.get(ROUTING_KEY_HEADER) if own else next(iter(death.get("routing-keys") or []), ""))
    reason = "failed" if own else str(death.get("reason") or "unknown")
    task, argument = _what(headers, message.body)
    return DeadLetter(
        id=message.message_id or hashlib.sha256(message.body).hexdigest()[:32],
        vhost=vhost,
        held_in=held_in,
        queue=_queue_of(key) if own else str(death.get("queue") or ""),
        exchange=TASKS_EXCHANGE if own else str(death.get("exchange") or ""),
        routing_key=key,
        reason=reason,
        error=str(headers[ERROR_HEADER]) if own else None,
        # A message that came too late or was returned too often may fare better now; a refused one never will.
        transient=bool(headers.get(TRANSIENT_HEADER)) if own else reason in ("expired", "delivery_limit"),
        died_at=_moment(headers.get(DIED_HEADER) if own else death.get("time")),
        replays=_number(headers.get(REPLAYS_HEADER)),
        task=task,
        argument=argument,
        trace_id=_trace_id(headers),
        body=message.body,
        message=message,
    )


def _death(headers: dict[str, Any]) -> dict[str, Any]:
    """The newest death, as the broker noted it."""
    deaths = headers.get("x-death")
    return dict(deaths[0]) if isinstance(deaths, list) and deaths else {}


def _queue_of(routing_key: str) -> str:
    return next((q.name for q in TASK_QUEUES.values() if routing_key.startswith(q.keys.removesuffix("*"))), "")


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return datetime.fromtimestamp(0, UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _what(headers: dict[str, Any], body: bytes) -> tuple[str, str]:
    """(task, argument) of a task message; of another one its beginning."""
    task = str(headers.get("task") or "")
    try:
        parsed = orjson.loads(body)
        if task:
            return task, str(parsed[0][0])
        return "", str(parsed.get("job_id") or parsed)[:80]
    except (ValueError, LookupError, TypeError, AttributeError):
        return task, repr(body[:80])


def _trace_id(headers: dict[str, Any]) -> str | None:
    parts = str(headers.get("traceparent") or "").split("-")
    return parts[1] if len(parts) == 4 else None


class _Box:
    """One dead-letter queue, opened: its letters, of which what is not settled goes back at the end."""

    def __init__(self, channel: AbstractChannel, letters: list[DeadLetter]) -> None:
        self._channel = channel
        self.letters = letters
        self._settled: set[int] = set()

    async def replay(self, letter: DeadLetter) -> None:
        if not letter.exchange or not letter.routing_key:
            raise DeadLetterUnroutable
        exchange = await self._channel.get_exchange(letter.exchange, ensure=False)
        await exchange.publish(revived(letter), letter.routing_key, mandatory=True, timeout=PUBLISH_SECONDS)
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        await letter.message.ack()
        self._settled.add(id(letter))

    async def put_back(self) -> None:
        for letter in self.letters:
            if id(letter) not in self._settled:
                await letter.message.reject(requeue=True)


def revived(letter: DeadLetter) -> aio_pika.Message:
    """As it was first sent: the same id and body, and a count of its lives. What the broker noted is left out."""
    notes = (ERROR_HEADER, TRANSIENT_HEADER, DIED_HEADER, ROUTING_KEY_HEADER)
    kept = {
        name: value
        for name, value in letter.message.headers.items()
        if name not in notes and not name.startswith(("x-death", "x-first-death", "x-last-death", "x-delivery"))
    }
    old = letter.message
    return aio_pika.Message(
        letter.body,
        headers={**kept, REPLAYS_HEADER: letter.replays + 1},
        content_type=old.content_type,
        content_encoding=old.content_encoding,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=old.priority,
        correlation_id=old.correlation_id,
        message_id=old.message_id,
    )


@asynccontextmanager
async def opened(urls: Urls, vhosts: Sequence[str] = tuple(QUEUES)) -> AsyncIterator[list[_Box]]:
    """The dead-letter queues of these vhosts. BrokerDown."""
    try:
        boxes: list[_Box] = []
        connections = []
        try:
            for vhost in vhosts:
                connection = await open_connection(urls.of(vhost))
                connections.append(connection)
                await _turn(connection)
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                boxes += [_Box(channel, await _take(channel, vhost, name)) for name in QUEUES[vhost]]
            try:
                yield boxes
            finally:
                for box in boxes:
                    await box.put_back()
        finally:
            for connection in connections:
                await connection.close()  # gives back whatever was not settled
    except BROKER_ERRORS as error:
        pass_on_cancellation()
        raise BrokerDown(f"The broker does not answer, or refuses: {error!r}") from error


async def _turn(connection: AbstractConnection) -> None:
    """Wait until nobody else looks: a queue of this name can belong to one connection only, and goes with it."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            while True:
                try:
                    await (await connection.channel()).declare_queue(TURN, exclusive=True, auto_delete=True)
                except ChannelLockedResource:
                    await asyncio.sleep(TURN_PAUSE)
                else:
                    return
    except TimeoutError:
        raise DeadLettersBusy from None


async def _take(channel: AbstractChannel, vhost: str, name: str) -> list[DeadLetter]:
    queue = await channel.declare_queue(name, passive=True)
    letters: list[DeadLetter] = []
    for _ in range(min(queue.declaration_result.message_count or 0, MOST)):
        message = await queue.get(no_ack=False, fail=False)
        if message is None:
            break
        letters.append(read(vhost, name, message))
    return letters


# --- what the operator and the scheduler do ---------------------------------------------------------------------------


async def listed(urls: Urls, vhosts: Sequence[str] = tuple(QUEUES)) -> list[DeadLetter]:
    """All letters, the oldest first."""
    async with opened(urls, vhosts) as boxes:
        return sorted((letter for box in boxes for letter in box.letters), key=lambda letter: letter.died_at)


async def replay_due(urls: Urls, now: datetime) -> int:
    """Send again what failed for a passing reason and has waited long enough; how many there were."""
    count = 0
    async with opened(urls) as boxes:
        for box in boxes:
            for letter in box.letters:
                if letter.due_at is not None and letter.due_at <= now:
                    await box.replay(letter)
                    count += 1
    return count


async def settle(urls: Urls, wanted: Sequence[str], *, everything: bool, again: bool) -> list[DeadLetter]:
    """Send again (or, without `again`, drop) the letters whose ids begin with `wanted`, or all. Returns them."""
    async with opened(urls) as boxes:
        pairs = [(box, letter) for box in boxes for letter in box.letters]
        if not everything:
            pairs = [_only(pairs, prefix) for prefix in wanted]
        for box, letter in pairs:
            await (box.replay(letter) if again else box.drop(letter))
        return [letter for _, letter in pairs]


def _only(pairs: Sequence[tuple[_Box, DeadLetter]], prefix: str) -> tuple[_Box, DeadLetter]:
    found = [pair for pair in pairs if pair[1].id.startswith(prefix)]
    if not found:
        raise DeadLetterNotFound(f"There is no dead letter {prefix!r}; `eco2 dlq list` shows them.")
    if len({pair[1].id for pair in found}) > 1:
        raise DeadLetterAmbiguous(f"{len(found)} dead letters begin with {prefix!r}; give more of the id.")
    return found[0]
