"""Bounds of what a chat keeps, and of what goes to a model, however long the chat and its messages are."""

from collections.abc import Sequence
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import BaseModel

from eco2 import knowledge as kb
from eco2.chat.agent import graph
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.searching import MOST_TOKENS
from eco2.chat.agent.state import Context, Memory, Question, State
from eco2.chat.answering import _metadata
from eco2.chat.conversation import LONGEST_MESSAGE
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.llm.wire import LlmFailed

KNOWLEDGE = kb.load()
GRAPH, OWN_WORDS = graph.build(), OwnWords(KNOWLEDGE)
SMALLEST_WINDOW = 128_000
"""Tokens of the models that a chat may name; a token has a byte at least."""
TURNS = 500
WORDS = (
    "우유팩은 어떻게 버려요?",
    "안 씻었는데?",
    "그럼 뚜껑은?",
    "마포구는요?",
    "건전지 수거함 어디 있어?",
    "전구가 깨졌어요",
    "캔이랑 페트병이랑 프라이팬이랑 우산은?",
    "안녕!",
    "내일 비 와?",
    "장롱 수수료 얼마야?",
)


class Listening:
    """A model that hears everything and answers nothing."""

    def __init__(self) -> None:
        self.heard: list[Sequence[Any]] = []

    def serves(self, _model: str) -> bool:
        return True

    async def structured(self, _model: str, _schema: type[BaseModel], messages: Sequence[Any], **_: Any) -> Any:
        self.heard.append(messages)
        raise LlmFailed("timeout")

    async def reply(self, _model: str, messages: Sequence[Any], *_: Any, **__: Any) -> Any:
        self.heard.append(messages)
        raise LlmFailed("timeout")


async def _nothing(*_: object) -> None:
    return


async def _turn(text: str, memory: Memory, llm: Listening | None = None) -> State:
    context = Context(
        knowledge=KNOWLEDGE,
        job_id="job",
        say=_nothing,
        started=_nothing,
        ended=_nothing,
        llm=cast(Llm, llm),
        model="gpt-5.2",
        places=None,
        own_words=OWN_WORDS,
        search_model="gpt-5-search-api",
    )
    return await graph.run(GRAPH, Question(text, memory), context)


@pytest.mark.parametrize("words", [WORDS, ("가" * LONGEST_MESSAGE,), ("캔 페트병 유리병 우유팩 " * 200,)])
async def test_five_hundred_turns_keep_less_than_a_megabyte(words: tuple[str, ...]) -> None:
    memory, kept = Memory(), 0
    rounds = TURNS if words is WORDS else 20
    for number in range(rounds):
        state = await _turn(words[number % len(words)][:LONGEST_MESSAGE], memory)
        kept += len(orjson.dumps(_metadata(state, memory)))
        memory = memory.updated(state["parts"])
        assert len(orjson.dumps(memory.model_dump(mode="json"))) < 8_000
    assert kept * TURNS / rounds < 1_000_000


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(some.text(max_size=LONGEST_MESSAGE), some.sampled_from(["", "안녕! ", "뉴스 검색해 줘 ", "우유팩은? "]))
async def test_what_a_model_is_asked_fits_its_window_with_its_answer(text: str, begins: str) -> None:
    model = Listening()
    await _turn(f"{begins}{text}"[:LONGEST_MESSAGE], Memory(), model)
    for messages in model.heard:
        size = sum(len(str(message["content"]).encode("utf-8", "surrogatepass")) for message in messages)
        assert size <= SMALLEST_WINDOW - max(LlmSettings().llm_max_output_tokens, MOST_TOKENS)


async def test_the_longest_messages_fit_too() -> None:
    every = " ".join(item.ko for item in KNOWLEDGE.items.values())
    model = Listening()
    for text in (every, "🗑️" * 2000, "안녕! " + "👍🏽" * 1990, "검색 " + "가" * 3990):
        await _turn(text[:LONGEST_MESSAGE], Memory(), model)
    assert model.heard
    for messages in model.heard:
        size = sum(len(str(message["content"]).encode()) for message in messages)
        assert size <= SMALLEST_WINDOW - LlmSettings().llm_max_output_tokens
