"""Fees and prices from a steward's lists, and what a few words go on from."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from eco2 import knowledge as kb
from eco2.chat import evaluation
from eco2.chat.agent import graph, lists
from eco2.chat.agent.lists import NO_LISTS, Lists
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import Context, Memory, Question, State
from tests.unit.chat.test_understanding import GRAPH, KNOWLEDGE, Seen, names

SAMPLES = kb.default_directory() / "samples"
LISTS = lists.load(KNOWLEDGE, SAMPLES / "bulk_fees.csv", SAMPLES / "recyclable_prices.csv")


async def talk(*texts: str, of: Lists = LISTS) -> tuple[State, Memory]:
    """(state of the last turn, memory after it)."""
    memory = Memory()
    for text in texts:
        seen = Seen()
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
            lists=of,
        )
        state = await graph.run(GRAPH, Question(text, memory), context)
        memory = state["question"].memory.updated(state["parts"])
    return state, memory


async def test_a_fee_is_told_for_a_thing_in_a_district_with_its_source_and_date() -> None:
    state, _ = await talk("마포구에서 소파 버리는 수수료 얼마예요?")
    assert "소파 (3인용): 9,000원" in state["answer"]
    assert "출처: Eco² 견본 (2026-11-30 기준)" in state["answer"]
    assert "실제 값이 아니에요" in state["answer"]


async def test_what_is_missing_is_asked_for_and_then_told() -> None:
    state, memory = await talk("소파 수수료 얼마야?")
    assert "어느 시·군·구에 사세요?" in state["answer"]
    assert memory.subject == "bulk_waste"
    state, _ = await talk("소파 수수료 얼마야?", "마포구요")
    assert "9,000원" in state["answer"]
    state, _ = await talk("소파 수수료 얼마야?", "마포구요", "매트리스는?")
    assert "매트리스 (더블·퀸): 10,000원" in state["answer"]
    state, _ = await talk("대형폐기물 수수료", "자전거요", "제주시")
    assert "자전거" in state["answer"]
    assert "원" in state["answer"]


async def test_what_the_list_does_not_have_is_not_made_up() -> None:
    state, _ = await talk("창원시에서 소파 수수료 얼마예요?")
    assert "자료에 없어요" in state["answer"]
    assert "원\n" not in state["answer"]
    state, _ = await talk("소파 수수료 얼마야?", of=NO_LISTS)
    assert "지역번호+120" in state["answer"]


async def test_prices_are_told_by_name_and_gone_on_from() -> None:
    state, _ = await talk("고철 시세 알려줘")
    assert "고철: 300원/kg" in state["answer"]
    assert "신문지:" not in state["answer"]
    state, _ = await talk("고철 시세 알려줘", "신문지는?")
    assert names(state) == ["recyclable_price"]
    assert "신문지: 130원/kg" in state["answer"]
    state, _ = await talk("고철 시세 알려줘", "신문지는 어떻게 버려?")
    assert names(state) == ["waste"]
    assert "자료에 없어요" in (await talk("도자기 시세"))[0]["answer"]
    assert "순환자원정보센터" in (await talk("고철 시세", of=NO_LISTS))[0]["answer"]


@pytest.mark.parametrize(
    ("texts", "intents"),
    [
        (("소주병 마트에 가져가면 얼마 줘요?",), ["waste", "collection_point"]),
        (("내일 냉장고 버려야 하는데 비 오는지도 알려줘",), ["weather", "waste"]),
        (("오늘 날씨 어때?", "모레는?"), ["weather"]),
        (("오늘 날씨 어때?", "우유팩은?"), ["waste"]),
        (("포스터 그려줘", "더 귀엽게"), ["image_generation"]),
    ],
)
async def test_a_few_words_go_on_from_the_intent_before(texts: Sequence[str], intents: list[str]) -> None:
    state, _ = await talk(*texts)
    assert sorted(names(state)) == sorted(intents)


async def test_harm_is_understood_of_any_of_the_last_things() -> None:
    texts = ("동전건전지 버리는 법", "장난감 버리는 법", "우리 애가 방금 그거 삼킨거같아요!!!")
    state, _ = await talk(*texts)
    assert state["understood"].asked.emergency is not None
    assert "119" in state["answer"]
    state, _ = await talk("피자박스", "어제 먹었어요")
    assert state["understood"].asked.emergency is None


async def test_dirt_of_something_is_not_that_thing() -> None:
    state, memory = await talk("피자박스 버리는 법", "기름이 좀 묻었으면요?")
    assert memory.item == "pizza_box"
    assert "폐식용유" not in state["answer"]


FEES = "district,item,name,size,won,source,date,sample\n"


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("마포구,no_item,소파,,1000,구청,2026-01-01,", "no item 'no_item'"),
        ("마포구,sofa_chair,소파,,-1,구청,2026-01-01,", "won is -1"),
        ("마포구,sofa_chair,소파,,싸요,구청,2026-01-01,", "invalid literal"),
        ("마포구,sofa_chair,소파,,1000,,2026-01-01,", "source is empty"),
        ("마포구,sofa_chair,소파,,1000,구청,어제,", "isoformat"),
        ("마포구,sofa_chair,소파,,1000,구청,2026-01-01,maybe", "sample is 'maybe'"),
    ],
)
def test_a_list_with_a_bad_row_is_refused_whole(tmp_path: Path, row: str, wrong: str) -> None:
    file = tmp_path / "fees.csv"
    file.write_text(f"{FEES}마포구,sofa_chair,소파,,1000,구청,2026-01-01,\n{row}\n")
    with pytest.raises(ValueError, match=f"line 3: .*{wrong}"):
        lists.load(KNOWLEDGE, file, None)


async def test_a_turn_is_right_if_every_line_of_it_holds() -> None:
    directory = kb.default_directory()
    talker = evaluation.Talker(KNOWLEDGE, None, "")
    rounds = evaluation.conversations(directory)
    assert sum(len(round_) for round_ in rounds.values()) >= 80
    first = next(iter(rounds.values()))[0]
    assert all(not one.faults for one in await talker.talk(first))
    wrong = first.turns[0].expect.model_copy(
        update={"intents": ("weather",), "streams": (("foam",),), "must_not": ("우유팩",), "asks": True}
    )
    turn = first.turns[0].model_copy(update={"expect": wrong})
    (scored,) = await talker.talk(first.model_copy(update={"turns": (turn,)}))
    assert scored.faults == {"intent", "stream", "must_not", "asks"}
