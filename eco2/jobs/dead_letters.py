"""The dead letters of all vhosts: look at them, send them again, drop them.

They stay in their queues until an operator decides. Looking takes them out and puts them back, so one reader waits for
another; the letters are in the broker all the time. Sending again publishes with a confirm and then
takes the letter away: dying in between doubles the message, and every consumer does a message's work once.

A letter may hold anything: what cannot be read of it is left out, and a letter is sent to no place but a queue of work.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import ChannelLockedResource

from eco2.contracts.queues import (
    BINDINGS,
    CHAT_BINDINGS,
    CHAT_DEAD_LETTERS,
    CHAT_QUEUES,
    CHAT_VHOST,
    DEAD_LETTER_QUEUES,
    Q_AI,
    Q_DLQ,
    REWARD_QUEUE,
    TASK_QUEUES,
    TASKS_EXCHANGE,
    TASKS_VHOST,
    VHOST,
    WORK_QUEUES,
)
from eco2.contracts.tasks import DIED_HEADER, ERROR_HEADER, REPLAYS_HEADER, ROUTING_KEY_HEADER, TRANSIENT_HEADER
from eco2.core.errors import BadRequest, NotFound, Unavailable
from eco2.messaging.broker import (
    BROKER_ERRORS,
    PUBLISH_SECONDS,
    BrokerDown,
    open_connection,
    pass_on_cancellation,
)
from eco2.messaging.dead_letters import ERROR_LENGTH, comes_from
from eco2.messaging.headers import SENT_HEADER, printable, whole_number

log = logging.getLogger(__name__)

QUEUES = {
    VHOST: [queue.name for queue in DEAD_LETTER_QUEUES],
    TASKS_VHOST: [Q_DLQ],
    CHAT_VHOST: [CHAT_DEAD_LETTERS],
}
TURN = "dead-letters.reader"
TURN_SECONDS, TURN_PAUSE = 20.0, 0.1
MOST = 1000
"""Letters of one queue that are looked at in one go; the oldest come first."""
MOST_BYTES = 1 << 26
"""Of the bodies that are held meanwhile: letters behind those are looked at when those are gone."""
HANDFUL, LULL_SECONDS, PUT_BACK_SECONDS = 100, 2.0, 3.0
ACKS_AT_ONCE, ACKS_PAUSE = 16, 0.1
"""A quorum queue takes 32 acknowledgements at once and has the channel hold the rest, which a closed one forgets."""
SHORT = 200
"""Longest text of a letter in a list."""
BACK_OFF = tuple(timedelta(minutes=m) for m in (1, 5, 30, 120, 480))
"""Time after which a dead letter is sent again by itself, by how often that was done before."""
RESUMED = {REWARD_QUEUE, *TASK_QUEUES} - {Q_AI, Q_DLQ}
"""Queues whose work is still wanted when its message has died. A scan or a turn of a chat has failed by then, and its
user knows."""
_WORK = {queue.name: queue for queue in (*WORK_QUEUES, *CHAT_QUEUES.values()) if queue.dead_letter_key}
_TARGETS = {
    binding.queue: (binding.exchange, binding.routing_key)
    for binding in (*BINDINGS, *CHAT_BINDINGS)
    if binding.queue in _WORK
}
_TASK_WORK = set(TASK_QUEUES) - {Q_DLQ}
_A_WORD = re.compile(r"[\w.:@<+-]{1,128}", re.ASCII)
LAST_YEAR = 9999
_BEGINNING = datetime.fromtimestamp(0, UTC)


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; `eco2 dlq list` shows them."""

    code = "LETTER_NOT_FOUND"


class DeadLetterAmbiguous(BadRequest):
    """More than one dead letter begins like that; give more of the id."""

    code = "LETTER_AMBIGUOUS"


class DeadLetterUnroutable(BadRequest):
    """Nothing says where this letter came from, so it cannot be sent there; look at it, then drop it."""

    code = "LETTER_UNROUTABLE"


class DeadLetterUnsendable(BadRequest):
    """This letter cannot be sent again as it is; look at it, then drop it."""

    code = "LETTER_UNSENDABLE"


class DeadLettersBusy(Unavailable):
    """Another process reads the dead letters; try again in a moment."""

    code = "LETTERS_BUSY"


@dataclass(frozen=True)
class Urls:
    """AMQP URLs of the vhosts. Without `chat` its letters are left alone: they are not replayed automatically."""

    eco2: str
    tasks: str
    chat: str | None = None

    @property
    def vhosts(self) -> dict[str, str]:
        """Vhost → its URL."""
        chat = {} if self.chat is None else {CHAT_VHOST: self.chat}
        return {VHOST: self.eco2, TASKS_VHOST: self.tasks, **chat}


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
    """Accept any message: nonsense is a letter, too."""
    headers: dict[str, Any] = dict(message.headers)
    own = ERROR_HEADER in headers
    death = {} if own else _death(headers)
    queue, exchange, key = _own_origin(vhost, held_in, headers) if own else _origin(vhost, death)
    reason = "failed" if own else printable(death.get("reason") or "unknown", SHORT)
    task, argument = _what(headers, message.body)
    return DeadLetter(
        id=_id(message),
        vhost=vhost,
        held_in=held_in,
        queue=queue,
        exchange=exchange,
        routing_key=key,
        reason=reason,
        error=printable(headers[ERROR_HEADER], ERROR_LENGTH) if own else None,
        # A message that came too late or was returned too often may fare better now; a refused one never will.
        transient=headers.get(TRANSIENT_HEADER) is True if own else reason in ("expired", "delivery_limit"),
        died_at=_moment(headers.get(DIED_HEADER) if own else death.get("time")),
        replays=whole_number(headers.get(REPLAYS_HEADER)),
        task=task,
        argument=argument,
        trace_id=_trace_id(headers),
        body=message.body,
        message=message,
    )


def _id(message: AbstractIncomingMessage) -> str:
    """The message's own, where a person can type it."""
    given = message.message_id
    if isinstance(given, str) and _A_WORD.fullmatch(given):
        return given
    return hashlib.sha256(repr(given).encode() + message.body if given else message.body).hexdigest()[:32]


def _death(headers: dict[str, Any]) -> dict[str, Any]:
    """The newest death, as the broker noted it."""
    match headers.get("x-death"):
        case [dict(newest), *_]:
            return newest
    return {}


def _own_origin(vhost: str, held_in: str, headers: dict[str, Any]) -> tuple[str, str, str]:
    """(queue, exchange, routing key) of a letter that a worker wrote; empty where that is no queue of work."""
    if vhost != TASKS_VHOST:
        queue = next(name for name, one in _WORK.items() if one.dead_letter_key == held_in)
        return (queue, *_TARGETS[queue])
    key = printable(headers.get(ROUTING_KEY_HEADER) or "", SHORT)
    queue = next((name for name in _TASK_WORK if comes_from(name, key)), "")
    return queue, TASKS_EXCHANGE if queue else "", key


def _origin(vhost: str, death: dict[str, Any]) -> tuple[str, str, str]:
    """The same from what the broker noted. Where the message was sent to a queue by name, that queue's own binding."""
    queue, keys = death.get("queue"), death.get("routing-keys")
    queue = queue if isinstance(queue, str) else ""
    if vhost != TASKS_VHOST:
        return (printable(queue, SHORT), *_TARGETS.get(queue, ("", "")))
    key = keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else ""
    known = queue in _TASK_WORK and comes_from(queue, key)
    return printable(queue, SHORT), TASKS_EXCHANGE if known else "", printable(key, SHORT)


def _moment(value: object) -> datetime:
    """In UTC; the beginning of time for a value that is no time or out of range."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if not isinstance(value, datetime):
            return _BEGINNING
        found = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _BEGINNING
    return found if _BEGINNING.year <= found.year < LAST_YEAR else _BEGINNING


def _what(headers: dict[str, Any], body: bytes) -> tuple[str, str]:
    """(task, argument) of a task message; of another one its beginning."""
    task = printable(headers.get("task") or "", SHORT)
    try:
        parsed = orjson.loads(body)
        told = parsed[0][0] if task else parsed.get("job_id") or parsed
        return task, printable(told if isinstance(told, str) else repr(told), SHORT)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return task, printable(repr(body[:80]), SHORT)


def _trace_id(headers: dict[str, Any]) -> str | None:
    trace = headers.get("traceparent")
    parts = trace.split("-") if isinstance(trace, str) else []
    return parts[1] if len(parts) == 4 and _A_WORD.fullmatch(parts[1]) else None


class _Box:
    """One dead-letter queue, opened: its letters; unsettled ones go back at the end."""

    def __init__(self, channel: AbstractChannel, name: str, letters: list[DeadLetter]) -> None:
        self.channel, self._name = channel, name
        self.letters = letters
        self._settled: set[int] = set()

    async def replay(self, letter: DeadLetter) -> None:
        """DeadLetterUnroutable, DeadLetterUnsendable; the channel is good afterwards in either case."""
        if not letter.exchange or not letter.routing_key:
            raise DeadLetterUnroutable
        exchange = await self.channel.get_exchange(letter.exchange, ensure=False)
        try:
            await exchange.publish(revived(letter), letter.routing_key, mandatory=True, timeout=PUBLISH_SECONDS)
        except DeliveryError as error:
            raise DeadLetterUnroutable("The broker has no queue for it now, or refuses it.") from error
        except BROKER_ERRORS:
            raise
        except Exception as error:  # whatever a codec says to a header that it could read and cannot write
            raise DeadLetterUnsendable(
                f"It cannot be written again as it is: {printable(repr(error), SHORT)}"
            ) from error
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        await letter.message.ack()
        self._settled.add(id(letter))
        if len(self._settled) % ACKS_AT_ONCE == 0:
            await asyncio.sleep(ACKS_PAUSE)

    async def back(self) -> None:
        """Return when the queue has all returned letters: a quorum queue is slow, and a reader would miss some."""
        left = sum(id(letter) not in self._settled for letter in self.letters)
        async with asyncio.timeout(PUT_BACK_SECONDS):
            while await self._waiting() < left:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)

    async def _waiting(self) -> int:
        queue = await self.channel.declare_queue(self._name, passive=True)
        return queue.declaration_result.message_count or 0


def revived(letter: DeadLetter) -> aio_pika.Message:
    """As it was first sent: the same id and body, and a count of its lives. What the broker noted is left out."""
    notes = (ERROR_HEADER, TRANSIENT_HEADER, DIED_HEADER, ROUTING_KEY_HEADER)
    kept = {
        name: value
        for name, value in letter.message.headers.items()
        if name not in notes
        and not name.startswith(("x-death", "x-first-death", "x-last-death", "x-delivery", SENT_HEADER))
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
async def opened(urls: Urls, vhosts: Sequence[str] | None = None) -> AsyncIterator[list[_Box]]:
    """The dead-letter queues of these vhosts, by default of all. BrokerDown."""
    try:
        boxes: list[_Box] = []
        connections = []
        try:
            for vhost in vhosts or urls.vhosts:
                connection = await open_connection(urls.vhosts[vhost])
                connections.append(connection)
                await _turn(connection)
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                boxes += [_Box(channel, name, await _take(channel, vhost, name)) for name in QUEUES[vhost]]
            yield boxes
            await _put_back(boxes)
        finally:
            for connection in connections:
                await connection.close()  # gives back whatever was not settled
    except BROKER_ERRORS as error:
        pass_on_cancellation()
        raise BrokerDown(f"The broker does not answer, or refuses: {error!r}") from error


async def _put_back(boxes: Sequence[_Box]) -> None:
    """All that was not settled, in one command for each queue."""
    try:
        for channel in {id(box.channel): box.channel for box in boxes}.values():
            await (await channel.get_underlay_channel()).basic_nack(0, multiple=True, requeue=True)
        for box in boxes:
            await box.back()
    except BROKER_ERRORS as error:  # it gives them back itself as the connection ends
        pass_on_cancellation()
        log.warning("the dead letters may be back a little later: %r", error)


async def _turn(connection: AbstractConnection) -> None:
    """Wait for other readers: a queue of this name can belong to one connection only, and ends with it."""
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
    """By the handful: a quorum queue takes as long for one that is asked for as for many that it may send."""
    queue = await channel.declare_queue(name, passive=True)
    await channel.set_qos(prefetch_count=HANDFUL)
    wanted = min(queue.declaration_result.message_count or 0, MOST)
    letters: list[DeadLetter] = []
    while len(letters) < wanted and sum(len(letter.body) for letter in letters) < MOST_BYTES:
        handful = await _handful(queue, min(HANDFUL, wanted - len(letters)))
        letters += [read(vhost, name, message) for message in handful]
        if not handful:
            break
    return letters


async def _handful(queue: AbstractQueue, wanted: int) -> list[AbstractIncomingMessage]:
    """Take up to `wanted` letters; fewer when the queue sends none for LULL_SECONDS."""
    inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    tag, found = await queue.consume(inbox.put), list[AbstractIncomingMessage]()
    try:
        while len(found) < wanted:
            async with asyncio.timeout(LULL_SECONDS):
                found.append(await inbox.get())
    except TimeoutError:
        pass
    await queue.cancel(tag)
    return found + [inbox.get_nowait() for _ in range(inbox.qsize())]


# --- actions of operators and the scheduler ---------------------------------------------------------------------------


async def listed(urls: Urls, vhosts: Sequence[str] | None = None) -> list[DeadLetter]:
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
                    try:
                        await box.replay(letter)
                    except BadRequest as error:
                        log.warning("a dead letter stays: %s", error, extra={"letter": letter.id})
                    else:
                        count += 1
    return count


@dataclass(frozen=True)
class Settled:
    """Outcome for a dead letter; `problem`: why it stayed where it was."""

    letter: DeadLetter
    problem: str | None = None


async def settle(urls: Urls, wanted: Sequence[str], *, everything: bool, again: bool) -> list[Settled]:
    """Send again (or, without `again`, drop) the letters whose ids begin with `wanted`, or all.

    DeadLetterNotFound, DeadLetterAmbiguous: then nothing was done.
    """
    async with opened(urls) as boxes:
        pairs = [(box, letter) for box in boxes for letter in box.letters]
        if not everything:
            pairs = list({id(pair[1]): pair for pair in (_only(pairs, prefix) for prefix in wanted)}.values())
        return [await _settle(box, letter, again) for box, letter in pairs]


async def _settle(box: _Box, letter: DeadLetter, again: bool) -> Settled:
    try:
        await (box.replay(letter) if again else box.drop(letter))
    except BadRequest as error:
        return Settled(letter, error.message)
    return Settled(letter)


def _only(pairs: Sequence[tuple[_Box, DeadLetter]], prefix: str) -> tuple[_Box, DeadLetter]:
    found = [pair for pair in pairs if pair[1].id.startswith(prefix)]
    if not found:
        raise DeadLetterNotFound(f"There is no dead letter {prefix!r}; `eco2 dlq list` shows them.")
    if len({pair[1].id for pair in found}) > 1:
        raise DeadLetterAmbiguous(f"{len(found)} dead letters begin with {prefix!r}; give more of the id.")
    return found[0]
