from collections.abc import MutableMapping
from typing import Any, cast

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from eco2.messaging.events import EventBus
from eco2.sse_gateway.hub import Hub, Listener
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.settings import Settings
from eco2.sse_gateway.stream import Job, Stream


class Log:
    """Stands for the bus and the hub of a stream; `answers` are what the log gives, one after the other."""

    def __init__(self, *answers: list[str] | Exception, connected: bool = True) -> None:
        self.answers = list(answers)
        self.connected = connected

    async def log(self, *_: object) -> list[str]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def texts(*seqs: int) -> list[str]:
    return [orjson.dumps({"stage": "done" if seq == 9 else "rule", "seq": seq}).decode() for seq in seqs]


def stream(log: Log, listener: Listener) -> Stream:
    settings = Settings(redis_streams_url="redis://127.0.0.1:1/0")
    job = Job("scan", "job-0000001")
    return Stream(cast(EventBus, log), cast(Hub, log), JobStates({}), settings, job, 6, listener)


async def sent(log: Log) -> bytes:
    bodies: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        bodies.append(message["body"])

    await stream(log, Listener()).run(send)
    return b"".join(bodies)


async def test_a_log_that_cannot_be_read_is_read_again() -> None:
    body = await sent(Log(RedisConnectionError("away"), texts(7, 8, 9)))
    assert [line for line in body.split(b"\n") if line.startswith(b"id")] == [b"id: 7", b"id: 8", b"id: 9"]


async def test_frames_behind_a_gap_are_held_back() -> None:
    body = await sent(Log(texts(8, 9), texts(7, 9), texts(8, 9)))
    assert [line for line in body.split(b"\n") if line.startswith(b"id")] == [b"id: 7", b"id: 8", b"id: 9"]


async def test_the_log_is_left_alone_while_redis_is_away() -> None:
    log, listener = Log(texts(7), connected=False), Listener()
    assert await stream(log, listener)._from_log() == []
    assert len(log.answers) == 1


@pytest.mark.parametrize(("behind", "waits"), [(False, [5.0, 5.0]), (True, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])])
async def test_pauses(behind: bool, waits: list[float]) -> None:
    waiting = stream(Log(), Listener())
    waiting.behind = behind
    assert [waiting._pause() for _ in waits] == waits
