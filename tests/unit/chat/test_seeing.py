"""Photos of a message: what they show, what the words say of it, and what is remembered."""

import asyncio
from collections.abc import Sequence

import pytest

from eco2 import knowledge as kb
from eco2.chat.agent import graph, seeing
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import Context, Memory, Question, State
from eco2.contracts.events import Stage
from eco2.contracts.pb import scan_pb2 as scans
from tests.unit.chat.test_understanding import GRAPH, KNOWLEDGE, Seen, names
from tests.unit.chat.test_understanding import turn as typed


class Eyes:
    """A look that finds what it is told to."""

    def __init__(self, *items: str, main: bool = True, waste: bool = True, situations: Sequence[str] = ()) -> None:
        sights = [scans.Sight(item=name, confidence=0.9, situations=situations) for name in items]
        self.found = scans.ClassifyResponse(
            main=sights[0] if main and sights else None,
            guesses=sights,
            others=sights[1:] if main else [],
            waste=waste,
            source="compute",
        )
        self.asked: list[bool] = []

    async def look(self, *, asked: bool) -> scans.ClassifyResponse:
        self.asked.append(asked)
        return self.found


async def turn(text: str, eyes: Eyes | None, memory: Memory | None = None, seen: Seen | None = None) -> State:
    seen = seen or Seen()
    context = Context(
        knowledge=KNOWLEDGE,
        job_id="job-1",
        say=seen.say,
        started=seen.started,
        ended=seen.ended,
        llm=None,
        model="",
        places=seen.places,
        own_words=OwnWords(KNOWLEDGE),
        look=eyes.look if eyes else None,
    )
    question = Question(text, memory or Memory(), has_image=True)
    state = await graph.run(GRAPH, question, context)
    assert "".join(seen.said) == state["answer"]
    return state


@pytest.mark.parametrize(
    "text", ["이 이미지 분류해줘", "이거 어떻게 버려?", "이게 뭐야?", "사진 속 물건 버리는 법", "👍", "?"]
)
async def test_a_message_without_a_thing_is_about_its_photo(text: str) -> None:
    seen = Seen()
    state = await turn(text, Eyes("milk_carton"), seen=seen)
    assert names(state) == ["waste"]
    assert state["answer"].startswith("사진의 물건: 우유팩")
    assert "종이팩" in state["answer"]
    stages = [stage for stage, status in seen.events if status == "completed"]
    assert stages[:2] == [Stage.VISION, Stage.INTENT]


async def test_an_english_message_is_answered_in_english() -> None:
    state = await turn("how do I throw this away?", Eyes("milk_carton"))
    assert state["answer"].startswith("In the photo: ")
    assert state["understood"].lang == "en"


async def test_words_say_which_of_the_things_that_look_so_and_in_what_state() -> None:
    state = await turn("이 페트병 어떻게 버려?", Eyes("colored_pet"))
    assert [one.subject for one in state["understood"].asked.mentions] == [KNOWLEDGE.item("colored_pet")]
    assert "아직 헹구지 않았어요" in (await turn("안 씻었는데 어떻게 해?", Eyes("milk_carton")))["answer"]


async def test_what_is_seen_of_its_state_counts() -> None:
    full = Eyes("milk_carton", situations=["content_full", "made_up"])
    assert (await turn("이거?", full))["answer"] != (await turn("이거?", Eyes("milk_carton")))["answer"]


async def test_words_about_another_thing_win() -> None:
    state = await turn("건전지는 어떻게 버려?", Eyes("milk_carton"))
    assert "우유팩" not in state["answer"]
    assert "전지" in state["answer"]


async def test_it_asks_which_of_the_guesses_it_is_and_takes_the_answer() -> None:
    state = await turn("이거 뭐야?", Eyes("water_pet", "colored_pet", main=False))
    assert "이 가운데 어느 것인가요?" in state["answer"]
    memory = state["question"].memory.updated(state["parts"])
    state = await typed("두 번째", memory)
    assert [one.subject for one in state["understood"].asked.mentions] == [KNOWLEDGE.item("colored_pet")]


async def test_the_last_photo_is_remembered() -> None:
    state = await turn("이거 어떻게 버려?", Eyes("milk_carton"))
    memory = state["question"].memory.updated(state["parts"])
    assert memory.photo == "milk_carton"
    assert "우유팩" in (await typed("안 씻어도 돼?", memory))["answer"]
    state = await typed("건전지는?", memory)
    memory = memory.updated(state["parts"])
    state = await typed("아까 사진 속 그건 씻어야 돼?", memory)
    assert [one.subject for one in state["understood"].asked.mentions] == [KNOWLEDGE.item("milk_carton")]


async def test_a_photo_of_nothing_and_one_of_something_unknown_are_said_to_be_so() -> None:
    assert "찾지 못했어요" in (await turn("이거 어떻게 버려?", Eyes(waste=False)))["answer"]
    assert "무엇인지 알 수 없어요" in (await turn("이거 어떻게 버려?", Eyes()))["answer"]
    assert "무엇인지 알 수 없어요" in (await turn("이거?", Eyes("an_item_of_tomorrow")))["answer"]


async def test_other_things_in_the_photo_are_named() -> None:
    assert "다른 물건: 유색 페트병" in (await turn("이거?", Eyes("milk_carton", "colored_pet")))["answer"]


@pytest.mark.parametrize("how", ["none", "down", "slow"])
async def test_where_nobody_can_look_it_says_so_and_answers_the_words(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes, seen = Eyes("milk_carton"), Seen()

    async def down(*, asked: bool) -> scans.ClassifyResponse:
        if how == "slow":
            await asyncio.Event().wait()
        raise ConnectionError(asked)

    monkeypatch.setattr(eyes, "look", down)
    monkeypatch.setattr(graph, "LOOK_SECONDS", 0.05)
    looking = None if how == "none" else eyes
    assert (await turn("이거 어떻게 버려?", looking))["answer"].startswith("지금은 사진을 볼 수 없어요")
    state = await turn("이 우유팩은?", looking, seen=seen)
    assert "지금은 사진을 볼 수 없어요" in state["answer"]
    assert "종이팩" in state["answer"]
    assert ((Stage.VISION, "failed") in seen.events) == (how != "none")


async def test_danger_goes_before_the_photo() -> None:
    state = await turn("가스가 새요", Eyes("milk_carton"))
    assert "우유팩" not in state["answer"]
    assert "119" in state["answer"] or "환기" in state["answer"]


def test_words_of_the_photo_are_no_thing_to_throw_away() -> None:
    assert seeing.without_words("이 사진 어떻게 버려요?") == "어떻게 버려요?"
    assert kb.load().items["photo_print"]
