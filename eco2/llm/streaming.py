"""A reply that arrives in pieces: its text, and the calls of tools that the model wants made."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from eco2.llm.wire import Again, LlmFailed, Usage

OnText = Callable[[str], Awaitable[None]]
"""Takes each piece of text as it arrives."""


@dataclass(frozen=True)
class Tool:
    """A function that the model may ask for. `schema`: its arguments; forbid extras and give no defaults."""

    name: str
    description: str
    schema: type[BaseModel]


@lru_cache(maxsize=256)
def rendered(tool: Tool) -> orjson.Fragment:
    """The tool as the API wants it, rendered once."""
    parameters = {"required": [], **tool.schema.model_json_schema()}
    function = {"name": tool.name, "description": tool.description, "strict": True, "parameters": parameters}
    return orjson.Fragment(orjson.dumps({"type": "function", "function": function}))


@dataclass(frozen=True)
class ToolCall:
    """`arguments` fit the schema of the tool, `raw` is the text that they were read from."""

    id: str
    name: str
    arguments: BaseModel
    raw: str

    def result(self, content: str) -> dict[str, Any]:
        """The message that tells the model what came of it."""
        return {"role": "tool", "tool_call_id": self.id, "content": content}


@dataclass(frozen=True)
class Page:
    """A page of the web that a reply names as its source."""

    url: str
    title: str


@dataclass(frozen=True)
class Reply:
    """`cut`: the text ends at the limit of tokens."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    cut: bool = False
    pages: tuple["Page", ...] = ()

    def message(self) -> dict[str, Any]:
        """This reply as a message of the conversation."""
        said: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.raw}}
                for call in self.calls
            ]
        return said


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(BaseModel):
    index: int = Field(default=0, ge=0, lt=64)
    id: str | None = None
    function: _Function = _Function()


class _Citation(BaseModel):
    url: str = ""
    title: str = ""


class _Annotation(BaseModel):
    url_citation: _Citation | None = None


class _Delta(BaseModel):
    annotations: list[_Annotation] | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: Usage | None = None


@dataclass
class _Wanted:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Written:
    """Everything that has arrived so far."""

    text: list[str] = field(default_factory=list)
    wanted: dict[int, _Wanted] = field(default_factory=dict)
    refusal: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    pages: dict[str, Page] = field(default_factory=dict)

    def add(self, data: object) -> str:
        """Take in a chunk; the text that it brought. ValidationError where it is none."""
        chunk = Chunk.model_validate(data)
        self.usage = chunk.usage or self.usage
        said = ""
        for choice in chunk.choices[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            self.refusal += choice.delta.refusal or ""
            said = choice.delta.content or ""
            for note in choice.delta.annotations or ():
                if (page := note.url_citation) is not None:
                    self.pages.setdefault(page.url, Page(page.url, page.title))
            for part in choice.delta.tool_calls or ():
                wanted = self.wanted.setdefault(part.index, _Wanted())
                wanted.id += part.id or ""
                wanted.name += part.function.name or ""
                wanted.arguments += part.function.arguments or ""
        if said:
            self.text.append(said)
        return said


def reply(written: Written, tools: Sequence[Tool]) -> Reply:
    """Raises Again for an invalid call of a tool, LlmFailed for a refusal."""
    if written.refusal or written.finish_reason == "content_filter":
        raise LlmFailed("refused", (written.refusal or "content filter")[:200])
    cut = written.finish_reason == "length"
    if cut and written.wanted:
        raise Again("invalid", "a tool call was cut at the token limit")
    known = {tool.name: tool for tool in tools}
    calls = tuple(_call(wanted, known) for _, wanted in sorted(written.wanted.items()))
    return Reply("".join(written.text), calls, cut, tuple(written.pages.values()))


def _call(wanted: _Wanted, known: dict[str, Tool]) -> ToolCall:
    tool = known.get(wanted.name)
    if tool is None or not wanted.id:
        raise Again("invalid", f"no such tool: {wanted.name[:50]!r}")
    try:
        arguments = tool.schema.model_validate_json(wanted.arguments or "{}")
    except ValidationError as error:
        wrong = {".".join(map(str, one["loc"])): one["type"] for one in error.errors()}
        raise Again("invalid", f"arguments of {tool.name}: {wrong}"[:200]) from error
    return ToolCall(wanted.id, tool.name, arguments, wanted.arguments)
