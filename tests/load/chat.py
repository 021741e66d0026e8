"""Scenarios of the chat agent: the first event of an answer, what a streamed token costs and how late it comes, a
worker full of answers that are being written, and what the graph of a turn costs.

The emulated model speaks at a set rate, and its sentences tell when they were sent, by the clock of this machine.
"""

import asyncio
import itertools
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import psutil

from eco2 import knowledge
from eco2.chat.evaluation import OWN, Conversation, Talker, conversations
from eco2.local.emulators import llm as llm_emulator
from tests.load import serve
from tests.load.bench import ELSEWHERE, Bench, cpu_measure, load_of_driver
from tests.load.client import percentile
from tests.load.edge import PORT_OFFSET, own_process, ready
from tests.load.machine import Usage, pss
from tests.load.report import Measure, skipped
from tests.load.target import User

CHAT = "/api/v1/chat"
PATH = (
    "gateway",
    "ext-authz",
    "chat-api",
    "chat-worker",
    "event-router",
    "sse-gateway",
    "rabbitmq",
    "redis-streams",
    "redis-cache",
    "postgres",
)
"""Processes that a turn goes through."""
HELLO = "안녕!"
"""Small talk, which the model answers in its own words."""
SENTENCE = (
    "반가",
    "워요, ",
    "오늘",
    "도 ",
    "좋은 ",
    "하루 ",
    "보내",
    "세요, ",
    "여러",
    "분께 ",
    "드리는 ",
    "{ms}번째 인사예요. ",
)
"""Tokens of the model, a syllable or two as those of Korean are. Its sentences are held back until they are whole, so
the last one is the one to wait for."""
STAMP = re.compile(r"(\d+)번째")
STREAMS, TOKENS_PER_SECOND = 100, 20
BEGIN_SECONDS, SETTLE_SECONDS = 30, 3.0
"""Longest time for all streams to begin; time in which all of them run before it is measured."""
HELD = 300
MOST_TURNS = 4 * HELD
SLOW = 0.5
"""Tokens a second of the turns that fill a worker: it is their number that takes memory."""
AT_ONCE = 16
CHATS_OF_A_USER = 4
"""A user may wait for five answers at once."""
TURN_SECONDS = 170


@dataclass
class Heard:
    """Sentences as clients read them: when each came (s, `time.monotonic`), and how long after it was sent (ms)."""

    late: list[tuple[float, float]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[float]:
        return [late for at, late in self.late if begin <= at <= end]


async def _behave(bench: Bench, **behaviours: dict[str, Any]) -> None:
    async with bench.client.session.post(f"{bench.target.emulator_url}/_control", json=behaviours) as response:
        response.raise_for_status()


async def _asked(bench: Bench) -> dict[str, Any]:
    """The emulated model's account of its calls."""
    async with bench.client.session.get(f"{bench.target.emulator_url}/_calls") as response:
        return dict(await response.json())


async def _post(bench: Bench, user: User, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with bench.client.session.post(bench.target.url + path, json=body, headers=user.headers) as response:
        if response.status >= 400:
            raise RuntimeError(f"{path}: {response.status} {await response.text()}")
        return dict(orjson.loads(await response.read()))


async def _begin(bench: Bench, user: User) -> str:
    """Path of a new chat's messages."""
    return f"{CHAT}/{(await _post(bench, user, CHAT, {}))['id']}/messages"


async def _send(bench: Bench, user: User, chat: str, words: str) -> str:
    """Path of the turn's events."""
    return str((await _post(bench, user, chat, {"message": words}))["stream_url"])


async def _frames(bench: Bench, user: User, path: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    async with bench.client.session.get(bench.target.url + path, headers=user.headers) as response:
        response.raise_for_status()
        event = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                event = line[7:-1].decode()
            elif line.startswith(b"data: ") and event != "keepalive":
                yield event, orjson.loads(line[6:])


def _whole(data: dict[str, Any]) -> str:
    """RuntimeError where the turn ended without an answer: what failed cost nothing."""
    if data["status"] != "completed":
        raise RuntimeError(f"a turn failed: {data}")
    return str(data["result"]["answer"])


# --- the first event --------------------------------------------------------------------------------------------------


async def first_event(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """One message after another: from before it is sent until the first event of its stream is read."""
    count = bench.sized(300, 80)
    await bench.llm_seconds(0, 0)
    if bench.target.emulator_url:
        await _behave(bench, chat_routing={}, chat_waste={})
    users = bench.target.users(count)
    firsts, wholes = list[float](), list[float]()
    before: Usage | None = None
    for number, user in enumerate([*users[:5], *users]):
        chat = await _begin(bench, user)
        if number == 5:  # the first ones warm up
            firsts, wholes, before = [], [], bench.target.usage()
        start = time.perf_counter()
        path = await _send(bench, user, chat, f"캔은 어떻게 버려요? ({number})")
        first = 0.0
        async for event, data in _frames(bench, user, path):
            first = first or time.perf_counter() - start
            if event == "done":
                _whole(data)
        firsts.append(1000 * first)
        wholes.append(1000 * (time.perf_counter() - start))
    assert before is not None
    usage = bench.target.usage().since(before)
    details = {
        "turns": count,
        "p50": round(percentile(firsts, 50), 1),
        "done_p50": round(percentile(wholes, 50), 1),
        "done_p95": round(percentile(wholes, 95), 1),
        "cpu_ms_per_turn": _by_process(usage, 1000 / count),
        **load_of_driver(usage, count),
    }
    return [Measure("chat_first_event_p95", percentile(firsts, 95), details)]


def _by_process(usage: Usage, factor: float) -> dict[str, float]:
    rows = sorted(usage.by_process.items(), key=lambda row: -row[1])
    return {name if name in PATH else f"({name})": round(factor * seconds, 2) for name, seconds in rows if seconds}


# --- tokens -----------------------------------------------------------------------------------------------------------


async def _listen(bench: Bench, user: User, path: str, heard: Heard) -> None:
    async for event, data in _frames(bench, user, path):
        now = time.monotonic()
        if event == "token":
            heard.late += [(now, 1000 * now - float(sent)) for sent in STAMP.findall(data["content"])]
        elif event == "done":
            _whole(data)


async def tokens(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """STREAMS answers at once, each written at TOKENS_PER_SECOND: CPU while all of them run, by the tokens that the
    model has sent meanwhile; how long after its last token a sentence reaches its client."""
    names = ("chat_token_cpu", "chat_token_cpu_worker", "chat_token_latency_p99")
    if bench.target.emulator_url is None:
        return [skipped(name, "no emulated model speaks") for name in names]
    seconds = bench.sized(25, 10)
    sentences = (seconds + BEGIN_SECONDS + 10) * TOKENS_PER_SECOND // len(SENTENCE)
    await _behave(bench, chat_general={"tokens": SENTENCE * sentences, "per_second": TOKENS_PER_SECOND})
    heard, turns = Heard(), await _sent(bench, bench.target.users(STREAMS))
    clients = [asyncio.create_task(_listen(bench, user, path, heard)) for user, path in turns]
    try:
        await _until_open(bench, STREAMS, BEGIN_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        begin, before, sent = time.monotonic(), bench.target.usage(), (await _asked(bench))["streamed"]
        await asyncio.sleep(seconds)
        usage, sent = bench.target.usage().since(before), (await _asked(bench))["streamed"] - sent
        late = heard.between(begin, time.monotonic())
        await _cancel(bench, turns)
        async with asyncio.timeout(BEGIN_SECONDS):
            await asyncio.gather(*clients)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await _behave(bench, chat_general={})
    path = sum(usage.by_process.get(name, 0.0) for name in PATH)
    details = {
        "streams": STREAMS,
        "seconds": seconds,
        "tokens_per_second": round(sent / usage.wall),
        "wanted_per_second": STREAMS * TOKENS_PER_SECOND,
        "us_per_token": _by_process(usage, 1e6 / sent),
        "with_idle_processes": round(1e6 * usage.whole(ELSEWHERE) / sent),
        "driver_us_per_token": round(1e6 * usage.driver / sent),
        "strangers_cores": round(usage.strangers, 2),
    }
    latency = {**details, "sentences": len(late), "p50": round(percentile(late, 50), 1)}
    return [
        cpu_measure("chat_token_cpu", 1e6 * path / sent, details),
        cpu_measure("chat_token_cpu_worker", 1e6 * usage.by_process["chat-worker"] / sent, details),
        Measure("chat_token_latency_p99", percentile(late, 99), latency),
    ]


async def _until_open(bench: Bench, count: int, seconds: float) -> None:
    """Wait until so many calls of the model are open."""
    try:
        async with asyncio.timeout(seconds):
            while (await _asked(bench))["open"] != count:
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise RuntimeError(f"{(await _asked(bench))['open']} answers are being written, not {count}") from None


# --- a full worker ----------------------------------------------------------------------------------------------------


async def full_worker(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Memory of a worker in whose hands HELD turns are, each with a model that speaks to it.

    A process of its own as in the cluster: one that was forked off the nursery shares its pages. It shares the queue
    with the stack's worker, so turns are sent until it has as many.
    """
    if bench.target.emulator_url is None:
        return [skipped("chat_worker_memory", "no emulated model speaks")]
    words = SENTENCE * int(TURN_SECONDS * SLOW)
    await _behave(bench, chat_general={"tokens": words, "per_second": SLOW})
    users = bench.target.users(MOST_TURNS // CHATS_OF_A_USER)
    waiting = iter([user for _ in range(CHATS_OF_A_USER) for user in users])
    sent: list[tuple[User, str]] = []
    async with _worker_alone(bench) as pid:
        rest, held = pss(pid), 0
        try:
            while held < HELD and len(sent) < MOST_TURNS:
                batch = list(itertools.islice(waiting, 2 * (HELD - held)))
                sent += await _sent(bench, batch)
                held = await _settled(bench, pid, len(sent))
            used = pss(pid)
        finally:
            await _cancel(bench, sent)
            await _behave(bench, chat_general={})
            await _until_open(bench, 0, 60)
    if held < HELD:
        return [skipped("chat_worker_memory", f"the worker had {held} turns")]
    details = {"turns": held, "of": len(sent), "at_rest_mb": round(rest / 1e6, 1)}
    return [Measure("chat_worker_memory", used / 1e6, details)]


@asynccontextmanager
async def _worker_alone(bench: Bench) -> AsyncIterator[int]:
    port = bench.target.layout.port_base + PORT_OFFSET
    model = {"ECO2_LLM_API_KEY": "emulated", "ECO2_LLM_BASE_URL": llm_emulator.base_url(bench.target.layout)}
    own = {**os.environ, **bench.target.environment, **serve.SETTINGS, **model, "ECO2_PORT": str(port)}
    async with own_process(sys.executable, "-m", "eco2.run", "chat-worker", environment=own) as pid:
        await ready(bench.client.session, f"http://127.0.0.1:{port}/ready")
        yield pid


async def _sent(bench: Bench, users: Sequence[User]) -> list[tuple[User, str]]:
    """(user, path of the events) of a turn of each of them, in a new chat."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(user: User) -> tuple[User, str]:
        async with slots:
            return user, await _send(bench, user, await _begin(bench, user), HELLO)

    return list(await asyncio.gather(*(one(user) for user in users)))


async def _settled(bench: Bench, pid: int, turns: int) -> int:
    """Number of answers that the worker reads from the model, once all turns have one."""
    await _until_open(bench, turns, 30)
    port = bench.target.layout.port(llm_emulator.PORT_OFFSET)
    links = psutil.Process(pid).net_connections("tcp")
    return sum(
        bool(link.raddr) and link.raddr.port == port and link.status == psutil.CONN_ESTABLISHED for link in links
    )


async def _cancel(bench: Bench, turns: Sequence[tuple[User, str]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(user: User, path: str) -> None:
        async with slots:
            await _post(bench, user, f"{path.removesuffix('/events')}/cancel", {})

    await asyncio.gather(*(one(user, path) for user, path in turns))


# --- the graph --------------------------------------------------------------------------------------------------------


async def graph_cpu(_bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """CPU of a turn in LangGraph with everything that it runs, in this process: reading, nodes, composing, no model.

    The turns of the independent conversations, each read for the first time, after those of round 00 have warmed up. No
    saver is beside it: what a chat remembers is written with its answer (ADR 40).
    """
    directory = knowledge.default_directory()
    talker, rounds = Talker(knowledge.load(directory), None, ""), conversations(directory)
    own, strange = list[Conversation](), list[Conversation]()
    for name, round_ in rounds.items():
        (own if name.startswith(OWN) else strange).extend(round_)
    await _cpu_of(talker, own)
    cold = await _cpu_of(talker, strange)
    turns = sum(len(one.turns) for one in strange)
    details = {"turns": turns, "again": round(sum(await _cpu_of(talker, strange)) / turns, 2)}
    details["dearest_conversation"] = round(max(c / len(one.turns) for c, one in zip(cold, strange, strict=True)), 2)
    return [Measure("chat_graph_cpu", sum(cold) / turns, details)]


async def _cpu_of(talker: Talker, talks: Sequence[Conversation]) -> list[float]:
    """CPU of each conversation (ms)."""
    costs: list[float] = []
    for one in talks:
        before = time.process_time()
        await talker.talk(one)
        costs.append(1000 * (time.process_time() - before))
    return costs
