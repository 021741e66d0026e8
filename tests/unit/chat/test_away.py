"""Every intent while what it asks is away: the turn ends, with an answer, and the rules are told all the same."""

from typing import Any, cast

import pytest

from eco2 import knowledge as kb
from eco2.chat.agent import graph
from eco2.chat.agent.lists import NO_LISTS
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import STAGE, Context, Intent, Location, Memory, Question
from eco2.contracts.events import Stage
from eco2.knowledge import asking
from eco2.llm.calls import Llm
from eco2.llm.wire import LlmFailed

KNOWLEDGE = kb.load()
GRAPH, OWN_WORDS = graph.build(), OwnWords(KNOWLEDGE)
WORDS = {
    Intent.WASTE: "우유팩 어떻게 버려요?",
    Intent.CHARACTER: "페티가 누구야?",
    Intent.LOCATION: "근처 제로웨이스트 가게 어디 있어?",
    Intent.BULK_WASTE: "소파 대형폐기물 수수료 얼마야?",
    Intent.RECYCLABLE_PRICE: "캔 시세 알려줘",
    Intent.COLLECTION_POINT: "건전지 수거함 어디 있어?",
    Intent.WEATHER: "서울 날씨 어때?",
    Intent.IMAGE_GENERATION: "북극곰 그려줘",
    Intent.WEB_SEARCH: "환경 뉴스 검색해 줘",
    Intent.GENERAL: "안녕하세요!",
}
ASKING = {Intent.LOCATION, Intent.COLLECTION_POINT, Intent.WEATHER}
"""Intents whose node itself fails then; the others go on without."""


class Away:
    """A model, and all else, that cannot be reached."""

    def serves(self, _model: str) -> bool:
        return True

    async def _failed(self, *_: object, **__: object) -> Any:
        raise LlmFailed("connection")

    structured = reply = draw = _failed

    async def find(self) -> str:
        return ""

    async def keep(self, _data: bytes) -> str:
        raise ConnectionError


async def away(*_: object, **__: object) -> Any:
    raise ConnectionError


def test_every_intent_is_tried() -> None:
    assert set(WORDS) == set(Intent)


@pytest.mark.parametrize("intent", Intent)
async def test_an_intent_whose_backend_is_away_is_answered(intent: Intent) -> None:
    stages: list[tuple[Stage, bool]] = []

    async def nothing(*_: object) -> None:
        return

    async def ended(stage: Stage, ok: bool) -> None:
        stages.append((stage, ok))

    context = Context(
        knowledge=KNOWLEDGE,
        job_id="job",
        say=nothing,
        started=nothing,
        ended=ended,
        llm=cast(Llm, Away()),
        model="gpt-5.2",
        places=away,
        own_words=OWN_WORDS,
        lists=NO_LISTS,
        search_model="gpt-5-search-api",
        image_model="gpt-image-1",
        pictures=Away(),
        forecast=away,
        ask=away if intent is Intent.WASTE else None,
    )
    question = Question(WORDS[intent], Memory(), Location(37.5663, 126.9779))
    state = await graph.run(GRAPH, question, context)
    assert intent in state["understood"].intents
    assert state["answer"].strip()
    ends = dict(stages)
    assert ends[STAGE[intent]] is (intent not in ASKING)
    assert ends[Stage.ANSWER] is True
    if intent is Intent.WASTE:
        assert state["answer"] == asking.ask(KNOWLEDGE, WORDS[intent])["answer"]
