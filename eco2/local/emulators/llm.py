"""A stand-in for a paid LLM: `/v1/chat/completions`, `/v1/images/generations` and `/v1/moderations` on loopback, as
fast or slow, and as faulty, as it is told to be.

    python -m eco2.local.emulators.llm --port 10045 --realistic

`POST /_control` takes `{purpose: Behaviour}` ("*" for those not named) and replaces what was set for these purposes;
`GET /_calls` counts requests and answers per job and purpose, and seconds per job; `DELETE /_calls` forgets them. Job
and purpose come in the headers `X-Eco2-Job` and `X-Eco2-Purpose`. Answers are derived from the request: the same photo
is always seen as the same item. No authentication, but pages are refused (`guard`): it is for tests, benchmarks and the
local stack.
"""

import asyncio
import math
import random
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from eco2.core.ops import Receive, Scope, Send, send_json
from eco2.llm.wire import JOB_HEADER, PURPOSE_HEADER
from eco2.local.config import Layout
from eco2.local.emulators import pictures, running
from eco2.local.supervisor import Unit

NAME = "llm-emulator"
PORT_OFFSET = 45
Fault = Literal["rate_limit", "error", "hang", "garbage", "cut", "wrong_item", "stall", "refusal"]
Json = dict[str, Any]

_JOB, _PURPOSE = JOB_HEADER.lower().encode(), PURPOSE_HEADER.lower().encode()
COMPLETIONS, IMAGES, MODERATIONS = PATHS = ("/v1/chat/completions", "/v1/images/generations", "/v1/moderations")
REPLY = "네, 확인했어요. 안내한 순서대로 배출해 주세요."


class ToolUse(BaseModel):
    """A call of a tool; `arguments` as a text are sent as they are."""

    name: str
    arguments: Json | str = {}

    def rendered(self, index: int) -> Json:
        text = self.arguments if isinstance(self.arguments, str) else orjson.dumps(self.arguments).decode()
        return {"id": f"call_{index}", "type": "function", "function": {"name": self.name, "arguments": text}}


class Behaviour(BaseModel):
    """`next` is used up first, one fault a request (None: answer); then each fault comes with its rate.

    `median` seconds of latency with `sigma` 0 is always the same, otherwise log-normal. `item`: what every photo
    shows, instead of one derived from its bytes; `reply`: the facts that are chosen for every answer. `obeys`: it does
    what the user's words say, and replies with them. `says`: the words of a reply that has no schema, which come in
    pieces, one in `pause` seconds, if they are streamed; `tokens`: the same piece by piece, where `{ms}` is the moment
    at which it is sent, by the clock of the machine (`time.monotonic`, ms). `per_second`: as many pieces, each at its
    own time however long those before it took. `calls`: the tools that it asks for first, where it is given some. A
    reply that stalls or is cut is so in its middle.
    """

    model_config = ConfigDict(extra="forbid")

    median: float = Field(default=0, ge=0)
    sigma: float = Field(default=0, ge=0)
    rates: dict[Fault, float] = {}
    next: list[Fault | None] = []
    retry_after: float = 1
    item: str | None = None
    seen: Json = {}
    """Fields of the vision reply to say instead: `others`, `evidence`, `situations`, …"""
    reply: list[str] | None = None
    says: str = REPLY
    tokens: list[str] = []
    pause: float = Field(default=0, ge=0)
    per_second: float | None = Field(default=None, gt=0)
    calls: list[ToolUse] = []
    pages: list[tuple[str, str]] = [("https://news.example.com/1", "환경 소식")]
    """(address, title) of the search results."""
    obeys: bool = False
    flags: bool = False
    """Moderation flags every message."""
    per_minute: int | None = Field(default=None, ge=1)
    """Of "*" only: requests of all purposes together, past which they are refused at once."""
    burst: int = Field(default=1, ge=1)
    """As many of them may come at once."""
    tells_limit: bool = False
    """True: answers carry the headers of the limit."""

    @property
    def words(self) -> str:
        return "".join(self.tokens) or self.says


_CONTROL = TypeAdapter(dict[str, Behaviour])
REALISTIC = {"vision": Behaviour(median=3, sigma=0.25), "answer": Behaviour(median=2, sigma=0.25)}


class Emulator:
    """The ASGI app."""

    def __init__(self, control: dict[str, Behaviour] | None = None, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable latencies and faults
        self._behaviours = {"*": Behaviour(), **(control or {})}
        self._checked_schemas: set[int] = set()
        self._open = 0
        self._left, self._left_at = 0.0, time.monotonic()
        """Requests that may come at once, and when that was so."""
        self._forget()

    def _forget(self) -> None:
        self._calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._connections: set[tuple[str, int]] = set()
        self._peak = self._refused = self._streamed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        route = (scope["method"], scope["path"])
        if route[0] == "POST" and route[1] in PATHS:
            await self._complete(scope, receive, send)
        elif route == ("POST", "/_control"):
            await self._set(receive, send)
        elif scope["path"] == "/_calls":
            if scope["method"] == "DELETE":
                self._forget()
            await send_json(send, 200, self._report())
        elif route == ("GET", "/ready"):
            await send_json(send, 200, {"status": "ready"})
        else:
            await _refuse(send, 404, "not_found", "There is nothing at this path.")

    async def _set(self, receive: Receive, send: Send) -> None:
        try:
            self._behaviours.update(_CONTROL.validate_json(await _body(receive)))
            self._left = self._behaviours["*"].burst
        except ValidationError as error:
            await _refuse(send, 422, "invalid_control", str(error))
        else:
            await send_json(send, 200, _CONTROL.dump_python(self._behaviours))

    def _report(self) -> Json:
        jobs = {
            job: {purpose: {"calls": n, "answers": self._answers[job][purpose]} for purpose, n in counts.items()}
            for job, counts in self._calls.items()
        }
        total = sum(sum(counts.values()) for counts in self._calls.values())
        return {
            "total": total,
            "open": self._open,
            "peak": self._peak,
            "refused": self._refused,
            "streamed": self._streamed,
            "connections": len(self._connections),
            "jobs": jobs,
            "seconds": dict(self._seconds),
        }

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        job, purpose = headers.get(_JOB, b"").decode(), headers.get(_PURPOSE, b"").decode()
        self._calls[job][purpose] += 1
        self._connections.add(tuple(scope["client"]))
        self._open += 1
        self._peak = max(self._peak, self._open)
        start = time.monotonic()
        try:
            raw = await _body(receive)
            if await self._answer(raw, purpose, receive, send, scope["path"]):
                self._answers[job][purpose] += 1
        finally:
            self._open -= 1
            self._seconds[job] += time.monotonic() - start

    async def _answer(self, raw: bytes, purpose: str, receive: Receive, send: Send, path: str) -> bool:
        """True when the client got a right answer."""
        told, wait = self._limit()
        if wait:
            self._refused += 1
            await _refuse(send, 429, "rate_limit_exceeded", "Rate limit reached.", told)
            return False
        behaviour = self._behaviours.get(purpose, self._behaviours["*"])
        fault = self._fault(behaviour)
        if fault == "hang":
            await _gone(receive)
            return False
        if behaviour.median:
            await asyncio.sleep(self.latency(behaviour))
        if fault in ("rate_limit", "error", "refusal"):
            await _fail(send, fault, behaviour)
            return False
        try:
            request = orjson.loads(raw)
            if path == MODERATIONS:
                await send_json(send, 200, _moderated(request, behaviour, fault))
                return fault is None
            if path == IMAGES:
                await send_json(send, 200, pictures.answer(request, fault))
                return fault is None
            content = self._content(request, behaviour, fault)
        except (ValueError, TypeError, LookupError) as error:
            await _refuse(send, 400, "invalid_request", str(error))
            return False
        usage = {
            "prompt_tokens": len(raw) // 4 if len(raw) < 40_000 else 10_000,
            "completion_tokens": len(content) // 2,
        }
        calls = _tools(request, behaviour)
        if request.get("stream"):
            said = [*behaviour.tokens] if content == behaviour.words else []
            deltas = _tool_deltas(calls) if calls else _deltas(said or _pieces(content))
            if "web_search_options" in request:
                deltas.append({"annotations": _citations(behaviour)})
            await self._stream(send, receive, request["model"], deltas, usage, behaviour, fault)
            if fault == "stall":
                await _gone(receive)
        else:
            await _whole(send, request["model"], content, usage, fault == "cut", told, calls)
        return fault is None

    async def _stream(
        self,
        send: Send,
        receive: Receive,
        model: str,
        deltas: list[Json],
        usage: Json,
        behaviour: Behaviour,
        fault: Fault | None,
    ) -> None:
        """Send the pieces, until its end, its fault, or the client has gone."""
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        whole = fault not in ("cut", "stall", "garbage")
        began, gone = time.monotonic(), asyncio.create_task(_gone(receive))
        try:
            sent = deltas if whole else deltas[: max(1, len(deltas) // 2)]
            for number, delta in enumerate(sent, start=1):
                await _chunk(send, model, [{"index": 0, "delta": _stamped(delta), "finish_reason": None}])
                self._streamed += 1
                due = began + number / behaviour.per_second if behaviour.per_second else 0.0
                await asyncio.sleep(max(behaviour.pause, due - time.monotonic()))
                if gone.done():
                    return
        finally:
            gone.cancel()
        if fault == "garbage":
            await send({"type": "http.response.body", "body": b'data: {"choices": [\n\n', "more_body": False})
        if not whole:
            return
        reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
        await _chunk(send, model, [{"index": 0, "delta": {}, "finish_reason": reason}])
        await _chunk(send, model, [], {**usage, "total_tokens": sum(usage.values())})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    def _limit(self) -> tuple[dict[str, str], float]:
        """Headers, and for how many seconds the request is refused: one comes back at a time, as at the real API."""
        limit = self._behaviours["*"]
        if limit.per_minute is None:
            return {}, 0.0
        now, rate = time.monotonic(), limit.per_minute / 60
        self._left = min(limit.burst, self._left + (now - self._left_at) * rate)
        self._left_at = now
        wait = 0.0 if self._left >= 1 else (1 - self._left) / rate
        self._left -= 0 if wait else 1
        told = {"retry-after-ms": str(math.ceil(wait * 1000))} if wait else {}
        if limit.tells_limit:
            told |= {
                "x-ratelimit-limit-requests": str(limit.burst),
                "x-ratelimit-remaining-requests": str(int(self._left)),
                "x-ratelimit-reset-requests": f"{(limit.burst - self._left) / rate:.3f}s",
            }
        return told, wait

    def _fault(self, behaviour: Behaviour) -> Fault | None:
        if behaviour.next:
            return behaviour.next.pop(0)
        if not behaviour.rates:
            return None
        drawn = self._random.random()
        for fault, rate in behaviour.rates.items():
            if drawn < rate:
                return fault
            drawn -= rate
        return None

    def latency(self, behaviour: Behaviour) -> float:
        return self._random.lognormvariate(math.log(behaviour.median), behaviour.sigma)

    def _content(self, request: Json, behaviour: Behaviour, fault: Fault | None) -> str:
        """Reply of the model. ValueError, TypeError and LookupError when the real API would refuse the request."""
        messages = request["messages"]
        if not messages or not all("role" in message and "content" in message for message in messages):
            raise ValueError("messages need role and content")
        for tool in request.get("tools", ()):
            self._check(tool["function"]["parameters"])
        form = request.get("response_format", {})
        if form.get("type") != "json_schema":
            return _obeyed(request, behaviour) if behaviour.obeys else behaviour.words
        schema = form["json_schema"]["schema"]
        self._check(schema)
        if fault == "garbage":
            return '{"waste": tru'
        seen = "item" in schema["properties"]
        answer = _seen(schema, messages[-1], behaviour) if seen else _chosen(messages[-1], behaviour)
        if fault == "wrong_item":
            answer = {**answer, "item": "no_such_item"}  # of an answer: a field too many
        return orjson.dumps(answer).decode()

    def _check(self, schema: Json) -> None:
        """The rules of strict mode, once for each different schema."""
        digest = hash(orjson.dumps(schema))
        if digest not in self._checked_schemas:
            for problem in strict_problems(schema):
                raise ValueError(problem)
            self._checked_schemas.add(digest)


def _seen(schema: Json, message: Json, behaviour: Behaviour) -> Json:
    """A sure answer: the item that was asked for, or one that depends on the photo's bytes alone."""
    ids = [item for item in schema["$defs"]["Item"]["enum"] if item not in ("none", "unsure")]
    urls = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    item = behaviour.item or ids[zlib.crc32(urls[0].encode()) % len(ids)]
    guess = {"item": item, "confidence": 0.93}
    seen = {"evidence": [], "waste": True, **guess, "candidates": [guess], "situations": [], "others": []}
    return seen | behaviour.seen


def _obeyed(request: Json, behaviour: Behaviour) -> str:
    """The words of the user and of the pages that were found, said as its own."""
    said = [str(message["content"]) for message in request["messages"] if message["role"] in ("user", "tool")]
    if "web_search_options" in request:
        said += [title for _, title in behaviour.pages]
    return "\n".join(said)


def _chosen(message: Json, behaviour: Behaviour) -> Json:
    """The last of the facts about each thing; of a model that obeys, the user's words besides."""
    if behaviour.reply is not None:
        return {"facts": behaviour.reply}
    try:
        asked = orjson.loads(message["content"])
        last = {name.partition(".")[0]: name for name in asked["facts"]}
        words = [asked["question"], *asked["question"].splitlines()] if behaviour.obeys else []
    except (orjson.JSONDecodeError, TypeError, LookupError):
        return {"facts": []}
    return {"facts": [*words, *last.values()]}


def _moderated(request: Json, behaviour: Behaviour, fault: Fault | None) -> Json:
    if not isinstance(request["input"], str):
        raise TypeError("input must be a text")
    result = {"flagged": behaviour.flags, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return {"id": "modr-1", "model": request["model"], "results": None if fault == "garbage" else [result]}


def _tools(request: Json, behaviour: Behaviour) -> list[Json]:
    """Calls to answer with; none once they have been made."""
    if not request.get("tools") or request["messages"][-1]["role"] == "tool":
        return []
    return [use.rendered(index) for index, use in enumerate(behaviour.calls)]


def strict_problems(schema: Any) -> Iterator[str]:
    nodes, enums = [schema], 0
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            nodes.extend(node.values())
            enums += len(node["enum"]) if isinstance(node.get("enum"), list) else 0
            if node.get("type") == "object":
                yield from _object_problems(node)
    if enums > 1000:
        yield f"Invalid schema: {enums} enum values; 1000 are allowed"


def _object_problems(node: Json) -> Iterator[str]:
    if node.get("additionalProperties") is not False:
        yield "Invalid schema: additionalProperties must be false"
    if set(node.get("required", ())) != set(node.get("properties", {})):
        yield "Invalid schema: required must name every property"


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    await send_json(send, status, body, headers)


async def _fail(send: Send, fault: Fault, behaviour: Behaviour) -> None:
    if fault == "rate_limit":
        headers = {"retry-after": f"{behaviour.retry_after:g}"}
        await _refuse(send, 429, "rate_limit_exceeded", "Rate limit reached.", headers)
    elif fault == "refusal":
        await _refuse(send, 400, "moderation_blocked", "The request was refused by the safety system.")
    else:
        await _refuse(send, 500, "server_error", "The server had an error.")


def _envelope(model: str, kind: str) -> Json:
    return {"id": "chatcmpl-emulated", "object": kind, "created": int(time.time()), "model": model}


async def _whole(
    send: Send, model: str, content: str, usage: Json, cut: bool, told: dict[str, str], calls: list[Json]
) -> None:
    """With `cut` the connection ends in the middle: uvicorn closes it when the announced length is not sent."""
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message |= {"content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
    total = {**usage, "total_tokens": sum(usage.values())}
    body = orjson.dumps({**_envelope(model, "chat.completion"), "choices": [choice], "usage": total})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2] if cut else body, "more_body": cut})


def _pieces(content: str) -> list[str]:
    return [content[start : start + 12] for start in range(0, len(content), 12)]


def _deltas(pieces: list[str]) -> list[Json]:
    return [{"content": piece} for piece in pieces]


def _citations(behaviour: Behaviour) -> list[Json]:
    found = [{"url": url, "title": title, "start_index": 0, "end_index": 1} for url, title in behaviour.pages]
    return [{"type": "url_citation", "url_citation": page} for page in found]


def _tool_deltas(calls: list[Json]) -> list[Json]:
    """Each call in two pieces, as the API sends them: its name, then its arguments by parts."""
    deltas: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        function = {**call["function"], "arguments": arguments[:half]}
        deltas.append({"tool_calls": [{**call, "index": index, "function": function}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]})
    return deltas


def _stamped(delta: Json) -> Json:
    content = delta.get("content", "")
    return {"content": content.replace("{ms}", f"{1000 * time.monotonic():.0f}")} if "{ms}" in content else delta


async def _chunk(send: Send, model: str, choices: list[Json], usage: Json | None = None) -> None:
    event = orjson.dumps({**_envelope(model, "chat.completion.chunk"), "choices": choices, "usage": usage})
    await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})


# --- running ----------------------------------------------------------------------------------------------------------


def unit(at: Layout, *arguments: str) -> Unit:
    """For the local supervisor; `arguments` as on the command line."""
    return running.unit(at, NAME, __name__, PORT_OFFSET, *arguments)


def base_url(at: Layout) -> str:
    """Value of ECO2_LLM_BASE_URL for it."""
    return f"http://127.0.0.1:{at.port(PORT_OFFSET)}/v1"


def main() -> None:
    parser = running.parser("llm", "An emulated LLM API.")
    parser.add_argument("--realistic", action="store_true", help="log-normal latency: vision 3 s, answer 2 s")
    parser.add_argument("--control", type=_CONTROL.validate_json, default={}, help="JSON as for POST /_control")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    control = {**(REALISTIC if given.realistic else {}), **given.control}
    # A cut connection is meant, and uvicorn logs it as an error.
    running.serve(Emulator(control, given.seed), given.port, "critical")


if __name__ == "__main__":
    main()
