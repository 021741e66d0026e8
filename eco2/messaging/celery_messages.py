"""Task messages on their way to Celery: read safely, made plain, and refused if they are no task.

Celery and py-amqp take a message at its word. A time that Python cannot represent ends the worker's connection, and
again at each delivery; an `eta` holds a message for as long as it says; a task of Celery's own runs others; a
compressed body unfolds to any size. Our messages have one argument and need none of that.
"""

from collections.abc import Callable, Collection
from typing import Any
from uuid import uuid4

import amqp.serialization
import orjson
from amqp.spec import Basic
from pamqp import commands

from eco2.contracts.tasks import ARGUMENT_LENGTH, REPLAYS_HEADER
from eco2.messaging.headers import SENT_HEADER, UNREADABLE, moment, printable, whole_number

ID_LENGTH = 64
COMPRESSED = "x-eco2-compression"
"""Key of the header `compression` of a message that has arrived."""
_PLAIN = {
    "lang": "py",
    "parent_id": None,
    "group": None,
    "retries": 0,
    "eta": None,
    "expires": None,
    "timelimit": [None, None],
    "kwargsrepr": "{}",
    "ignore_result": True,
}
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

_ABSENT: dict[str, tuple[Any, ...]] = {
    "eta": (None,),
    "expires": (None,),
    "timelimit": (None, [None, None]),
    COMPRESSED: (None,),
}
"""Header → the values that ask for nothing."""

Properties = tuple[dict[str, Any], int]
_read: Callable[[Any, int], Properties] = amqp.serialization.PROPERTY_CLASSES[Basic.CLASS_ID]


def _any_properties(buffer: Any, offset: int) -> Properties:
    try:
        found, end = _read(buffer, offset)
    except (*UNREADABLE, LookupError):
        found, end = _salvaged(bytes(buffer[offset:])), len(buffer)
    headers = found.get("application_headers", {})
    if "compression" in headers:  # kombu would unfold the body before we see it
        headers[COMPRESSED] = headers.pop("compression")
    return found, end


def _salvaged(data: bytes) -> dict[str, Any]:
    """As the codec of our other consumers reads them: without unreadable values."""
    properties = commands.Basic.Properties()
    properties.unmarshal(int.from_bytes(data[:2]), data[2:])
    named = {"headers": "application_headers", "message_type": "type"}
    values = {named.get(name, name): getattr(properties, name) for name in properties.attributes()}
    del values["timestamp"]
    return {name: value for name, value in values.items() if value is not None}


amqp.serialization.PROPERTY_CLASSES[Basic.CLASS_ID] = _any_properties  # type: ignore[assignment] # of the stubs


class NoTask(ValueError):
    """The message is no task of this worker; says why."""


def make_plain(message: Any, names: Collection[str]) -> None:
    """Leave of a kombu message what our tasks are made of. NoTask."""
    headers = message.headers
    name, argument = headers.get("task"), _argument(message.body)
    if not isinstance(name, str) or name not in names:
        raise NoTask(f"there is no task {printable(name, 100)} here")
    if unwanted := [key for key in _ABSENT if headers.get(key) not in _ABSENT[key]]:
        raise NoTask(f"it asks for what no task here has: {', '.join(unwanted)}")
    if not isinstance(headers.get("id"), str):
        raise NoTask("it has no id")
    task_id = message_id(message)
    trace = headers.get("traceparent")
    message.headers = {
        **_PLAIN,
        "task": name,
        "id": task_id,
        "root_id": task_id,
        "argsrepr": repr((argument,)),
        "traceparent": trace if isinstance(trace, str) else "",
        REPLAYS_HEADER: whole_number(headers.get(REPLAYS_HEADER)),
        "x-delivery-count": whole_number(headers.get("x-delivery-count")),
        SENT_HEADER: moment(headers.get(SENT_HEADER)),
    }
    message.body = orjson.dumps([[argument], {}, _EMBED]).decode()
    message.content_type, message.content_encoding = "application/json", "utf-8"


def message_id(message: Any) -> str:
    """The id that the sender gave it, where that is one; else a new one."""
    for given in (message.properties.get("message_id"), message.headers.get("id")):
        if isinstance(given, str) and given.isascii() and given.isprintable() and 0 < len(given) <= ID_LENGTH:
            return given
    return str(uuid4())


def _argument(body: Any) -> str:
    try:
        parsed = orjson.loads(body)
    except (ValueError, TypeError) as error:
        raise NoTask(f"the body is not JSON: {printable(str(error), 200)}") from error
    match parsed:
        case [[str(argument)], *rest] if not (rest and rest[0]):
            pass
        case _:
            raise NoTask("the body does not hold one argument, a string, as in [[argument], {}, {}]")
    if len(argument) > ARGUMENT_LENGTH or not argument.isprintable():
        raise NoTask(f"the argument has more than {ARGUMENT_LENGTH} characters, or unprintable ones")
    return argument
