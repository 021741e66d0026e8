"""`python -m tests.load.floor PORT`: the least that a scan costs on these servers, as one process of plain asyncio.

The stages of a scan on the PostgreSQL, Redis, RabbitMQ, object store and model of a running stack (`ECO2_…`), each with
its queue, its row and its events, two calls of the model, and a stream to the client. Left out is all that makes it a
platform: edge, accounts, limits, checks of the photo, reading of words, a cache, retries, repeated deliveries.
"""

import asyncio
import base64
import contextlib
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from uuid import uuid4

import aio_pika
import aiohttp
import orjson
import uvloop
from aiohttp import web
from aiormq.abc import DeliveredMessage
from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from eco2 import knowledge
from eco2.core.postgres import Database, open_database
from eco2.core.settings import BrokerSettings, DatabaseSettings, Settings, StorageSettings, StreamsSettings, load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge, grounding
from eco2.llm.settings import LlmSettings
from eco2.llm.wire import PURPOSE_HEADER, response_format
from eco2.scan import stages
from eco2.scan.vision.llm import Prompts

SCHEMA = "bench_floor"
QUEUES = VISION, RULE, ANSWER = ("floor.vision", "floor.rule", "floor.answer")
STREAM, LOG = "floor:events", "floor:log:"
AT_ONCE = 256
TELL = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'frame', ARGV[1])
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], 60)
redis.call('PUBLISH', KEYS[2], ARGV[1])
"""


class FloorSettings(Settings, DatabaseSettings, StreamsSettings, BrokerSettings, StorageSettings, LlmSettings):
    database_pool_size: int = 16


@dataclass
class Floor:
    db: Database
    redis: Redis
    channel: Any
    storage: Storage
    session: aiohttp.ClientSession
    model_url: str
    rules: dict[str, tuple[dict[str, object], dict[str, object]]]
    """Item → the facts that the model is asked about, and its result."""
    look: tuple[bytes, bytes]
    """The call for a photo, up to its data and from there on."""
    followers: defaultdict[str, list[asyncio.Queue[str]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._tell = self.redis.register_script(TELL)

    async def tell(self, job: str, event: str, **said: object) -> None:
        frame = f"event: {event}\ndata: {orjson.dumps({'job_id': job, **said}).decode()}\n\n"
        await self._tell(keys=[STREAM, LOG + job], args=[frame])

    async def hand_on(self, queue: str, job: dict[str, Any]) -> None:
        await self.channel.basic_publish(orjson.dumps(job), routing_key=queue)

    async def ask(self, purpose: str, body: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", PURPOSE_HEADER: purpose}
        async with self.session.post(f"{self.model_url}/chat/completions", data=body, headers=headers) as response:
            response.raise_for_status()
            said = orjson.loads(await response.read())
        reply: dict[str, Any] = orjson.loads(said["choices"][0]["message"]["content"])
        return reply

    async def submit(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        job = {"id": str(uuid4()), "photo": asked["image_url"], "words": asked["user_input"]}
        sql = f"INSERT INTO {SCHEMA}.jobs (id, photo, words) VALUES (%(id)s, %(photo)s, %(words)s)"
        await self.db.run(sql, **job)
        await self.tell(job["id"], "queued")
        await self.hand_on(VISION, job)
        return web.Response(body=orjson.dumps({"stream_url": f"/events/{job['id']}"}))

    async def events(self, request: web.Request) -> web.StreamResponse:
        job = request.match_info["job"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        live: asyncio.Queue[str] = asyncio.Queue()
        self.followers[job].append(live)
        try:
            frames = cast(list[str], await self.redis.lrange(LOG + job, 0, -1))
            known = set(frames)
            await response.write("".join(frames).encode())
            frame = frames[-1] if frames else ""
            while not frame.startswith("event: done"):
                frame = await live.get()
                if frame not in known:
                    await response.write(frame.encode())
        finally:
            del self.followers[job]
        return response

    async def hear(self) -> None:
        async with self.redis.pubsub() as live:
            await live.psubscribe(f"{LOG}*")
            async for message in live.listen():
                if message["type"] == "pmessage":
                    for follower in self.followers.get(message["channel"].removeprefix(LOG), ()):
                        follower.put_nowait(message["data"])

    async def vision(self, job: dict[str, Any]) -> None:
        photo = await self.storage.uploads.get(self.storage.key_of(job["photo"]) or "", 10**8)
        assert photo is not None
        reply = await self.ask("vision", base64.b64encode(photo).join(self.look))
        sql = f"UPDATE {SCHEMA}.jobs SET vision = %(vision)s WHERE id = %(id)s"
        await self.db.run(sql, id=job["id"], vision=Jsonb(reply))
        await self.tell(job["id"], "vision")
        await self.hand_on(RULE, {**job, "item": reply["item"]})

    async def rule(self, job: dict[str, Any]) -> None:
        _, result = self.rules[job["item"]]
        sql = f"UPDATE {SCHEMA}.jobs SET rule = %(rule)s WHERE id = %(id)s"
        await self.db.run(sql, id=job["id"], rule=Jsonb(result))
        await self.tell(job["id"], "rule")
        await self.hand_on(ANSWER, job)

    async def answer(self, job: dict[str, Any]) -> None:
        facts, result = self.rules[job["item"]]
        question = orjson.dumps({"question": job["words"], "facts": facts}).decode()
        messages = [{"role": "system", "content": grounding.PROMPT}, {"role": "user", "content": question}]
        form = response_format(grounding.Selection)
        reply = await self.ask("answer", orjson.dumps({"model": "m", "messages": messages, "response_format": form}))
        told = {**result, "user_answer": " ".join(str(facts[name]) for name in reply["facts"])}
        sql = f"UPDATE {SCHEMA}.jobs SET answer = %(answer)s, done = true WHERE id = %(id)s"
        await self.db.run(sql, id=job["id"], answer=Jsonb(told))
        await self.tell(job["id"], "answer")
        await self.tell(job["id"], "done", result={**told, "outcome": "answered"})

    async def take(self, work: Callable[[dict[str, Any]], Awaitable[None]], message: DeliveredMessage) -> None:
        await work(orjson.loads(message.body))
        await self.channel.basic_ack(message.delivery_tag)


def _look(base: Knowledge) -> tuple[bytes, bytes]:
    prompts = Prompts.of(base)
    photo = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,PHOTO"}}
    messages = [prompts.vision, {"role": "user", "content": [photo]}]
    body = orjson.dumps({"model": "m", "messages": messages, "response_format": response_format(prompts.schema)})
    head, tail = body.split(b"PHOTO")
    return head, tail


def _rules(base: Knowledge) -> dict[str, tuple[dict[str, object], dict[str, object]]]:
    found: dict[str, tuple[dict[str, object], dict[str, object]]] = {}
    for item in base.items.values():
        rule = stages.rule_of(base, item, None)
        steps = stages.answer(base, rule, None).disposal_steps
        facts: dict[str, object] = {f"{item.id}.{name}": text for name, text in steps.items()}
        found[item.id] = facts, {"item": item.id, "disposal_rules": rule.disposal_rules, "disposal_steps": steps}
    return found


async def _serve(settings: FloorSettings, port: int) -> None:
    base = knowledge.load()
    async with contextlib.AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        redis = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        broker = await stack.enter_async_context(await aio_pika.connect(settings.broker_url))
        channel = await (await broker.channel(publisher_confirms=True)).get_underlay_channel()
        endpoint = next(iter(settings.endpoints().values()))
        look, rules = _look(base), _rules(base)
        floor = Floor(db, redis, channel, Storage(settings), session, endpoint.base_url.rstrip("/"), rules, look)
        await db.run(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await db.run(f"CREATE SCHEMA {SCHEMA}")
        await db.run(
            f"CREATE TABLE {SCHEMA}.jobs (id uuid PRIMARY KEY, photo text, words text, vision jsonb, rule jsonb,"
            " answer jsonb, done boolean DEFAULT false, created_at timestamptz DEFAULT now())"
        )
        tags = []
        await channel.basic_qos(prefetch_count=AT_ONCE)
        for queue, work in zip(QUEUES, (floor.vision, floor.rule, floor.answer), strict=True):
            await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
            tags.append((await channel.basic_consume(queue, partial(floor.take, work))).consumer_tag)
        app = web.Application()
        app.add_routes([web.post("/api/v1/scan", floor.submit), web.get("/events/{job}", floor.events)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        hearing = asyncio.create_task(floor.hear())
        stack.callback(hearing.cancel)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)
        for queue, tag in zip(QUEUES, tags, strict=True):
            await channel.basic_cancel(str(tag))
            await channel.queue_delete(queue)
        await db.run(f"DROP SCHEMA {SCHEMA} CASCADE")
        await redis.delete(STREAM)


if __name__ == "__main__":
    uvloop.run(_serve(load(FloorSettings), int(sys.argv[1])))
