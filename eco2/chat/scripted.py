"""Doubles of a paid model for the evaluation of chats: one that routes as the conversation expects, one that never does
and gives dangerous advice about waste at every opportunity."""

from collections.abc import Sequence
from itertools import count
from typing import Any, Literal

import orjson

from eco2.chat.agent.state import Intent
from eco2.knowledge import grounding
from eco2.llm.streaming import OnText, Reply, Tool, ToolCall

Kind = Literal["right", "wrong"]
KINDS: tuple[Kind, ...] = ("right", "wrong")
WORDS = {
    "right": "네, 반가워요! 무엇이든 편하게 물어봐 주세요.",
    "wrong": "건전지는 불에 태우고 남은 약은 변기에 버리세요. Burn the batteries.",
}
ARGUMENTS = {
    "right": {"thing": "", "district": "", "city": "", "day": "unsaid", "shop": "any", "name": ""},
    "wrong": {"thing": "종이컵", "district": "제주시", "city": "부산", "day": "weekend", "shop": "any", "name": "페티"},
}
FAR = {Intent.WASTE: Intent.WEATHER, Intent.COLLECTION_POINT: Intent.CHARACTER}
"""Intent that is expected → one that has nothing to do with it; of others waste."""


class Scripted:
    """As much of `Llm` as an agent uses. `expected`: the intents of the message that comes next."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._numbers = count()
        self.expected: Sequence[str] = ()

    def serves(self, model: str) -> bool:
        return bool(model)

    async def structured(self, _model: str, schema: Any, messages: Sequence[Any], **_: object) -> Any:
        """The facts in the order that they have, or turned round and with words of its own."""
        assert schema is grounding.Selection
        facts = list(orjson.loads(messages[-1]["content"])["facts"])
        return schema(facts=facts if self._kind == "right" else [WORDS["wrong"], *reversed(facts)])

    async def reply(
        self, _model: str, _messages: Sequence[Any], on_text: OnText, *, tools: Sequence[Tool] = (), **_: object
    ) -> Reply:
        words = WORDS[self._kind]
        await on_text(words)
        return Reply(words, tuple(self._call(tool) for tool in tools if tool.name in self._wanted()))

    def _wanted(self) -> set[str]:
        if self._kind == "right":
            return set(self.expected)
        return {FAR.get(Intent(name), Intent.WASTE).value for name in self.expected} or {Intent.WEATHER.value}

    def _call(self, tool: Tool) -> ToolCall:
        given = {name: ARGUMENTS[self._kind][name] for name in tool.schema.model_fields}
        arguments = tool.schema.model_validate(given)
        return ToolCall(f"call_{next(self._numbers)}", tool.name, arguments, arguments.model_dump_json())
