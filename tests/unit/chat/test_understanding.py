"""Intents and follow-ups, without a model."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from eco2 import knowledge as kb
from eco2.chat.agent import graph, nodes
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import Context, Intent, Json, Location, Memory, Question, State
from eco2.chat.kma import Hour, Square
from eco2.contracts.events import STAGES, Service, Stage
from eco2.contracts.pb import location_pb2 as places

KNOWLEDGE = kb.load()
GRAPH = graph.build()
HERE = Location(37.55, 126.91)


class Seen:
    """Answer and questions of a turn."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.events: list[tuple[Stage, str]] = []
        self.searched: list[places.SearchNearbyRequest] = []
        self.found = [
            places.Place(id=7, name="망원동 주민센터", distance_text="120m", road_address="월드컵로 1", is_open=True)
        ]

    async def say(self, text: str) -> None:
        self.said.append(text)

    async def started(self, stage: Stage) -> None:
        self.events.append((stage, "started"))

    async def ended(self, stage: Stage, ok: bool) -> None:
        self.events.append((stage, "completed" if ok else "failed"))

    async def places(self, request: places.SearchNearbyRequest) -> places.SearchNearbyResponse:
        self.searched.append(request)
        return places.SearchNearbyResponse(entries=self.found, total_count=len(self.found))


async def turn(
    text: str, memory: Memory | None = None, at: Location | None = None, seen: Seen | None = None, **question: Any
) -> State:
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
    )
    return await graph.run(GRAPH, Question(text, memory or Memory(), at, **question), context)


async def talk(*texts: str, at: Location | None = HERE, seen: Seen | None = None) -> State:
    """The state of the last turn of a conversation."""
    memory = Memory()
    for text in texts:
        state = await turn(text, memory, at, seen)
        memory = memory.updated(state["parts"])
    return state


def names(state: State) -> list[str]:
    return [intent.value for intent in state["understood"].intents]


@pytest.mark.parametrize(
    ("text", "intents"),
    [
        ("우유팩 어떻게 버려요?", ["waste"]),
        ("how do I recycle a milk carton?", ["waste"]),
        ("건전지 버리는 법이랑 근처 수거함 알려줘", ["waste", "collection_point"]),
        ("건전지 수거함 어디 있어?", ["collection_point"]),
        ("서울역 근처 제로웨이스트 가게", ["location"]),
        ("가까운 재활용센터 찾아줘", ["location"]),
        ("페티가 누구야?", ["character"]),
        ("캐릭터는 어떻게 모아?", ["character"]),
        ("소파 수수료 얼마야?", ["waste", "bulk_waste"]),
        ("폐지 시세 알려줘", ["recyclable_price"]),
        ("오늘 날씨 어때?", ["weather"]),
        ("우산 챙겨야 해?", ["weather"]),
        ("우산 어떻게 버려요?", ["waste"]),
        ("우산이 필요 없어졌는데 어떻게 버려요?", ["waste"]),
        ("분리배출 포스터 그려줘", ["image_generation"]),
        ("최신 뉴스 검색해줘", ["web_search"]),
        ("안녕!", ["general"]),
        ("고마워", ["general"]),
        ("대통령이 누구야?", ["general"]),
        ("😀", ["general"]),
        ("가스가 새요 근처 수거함 어디야", ["waste"]),
    ],
)
async def test_a_message_has_these_intents(text: str, intents: Sequence[str]) -> None:
    assert names(await turn(text)) == intents


@pytest.mark.parametrize(
    ("texts", "item", "answer"),
    [
        (("프라이팬 어떻게 버려?", "그럼 손잡이는?"), "frying_pan", "손잡이"),
        (("우유팩 버리는 법", "안 씻었는데?"), "milk_carton", "아직 헹구지 않았어요"),
        (("우유팩 버리는 법", "안 씻었는데?", "마포구는?"), "milk_carton", "서울특별시 기준"),
        (("마포구에서 우유팩", "그럼 프라이팬은?"), "frying_pan", "서울특별시 기준"),
        (("유리병", "뚜껑은?"), "bottle_cap_metal", "캔류"),
        (("페트병", "두 번째"), "colored_pet", "플라스틱류"),
        (("페트병", "두 번째", "씻어야 해?"), "colored_pet", "헹구세요"),
        (("피자박스", "기름 묻은 건?"), "pizza_box", "종량제봉투"),
        (("페트병", "그거 말고 컵라면"), "cup_noodle_foam", "컵라면"),
        (("전구가 깨졌어요", "형광등이야"), "fluorescent_tube", "수거함에서 받지 않으니"),
        (("보조배터리가 부풀었어요", "어디에 버려?"), "power_bank", "119"),
        (("보조배터리가 부풀었어요", "고마워", "어디에 버려?"), "power_bank", "119"),
    ],
)
async def test_a_follow_up_goes_on_from_the_last_thing(texts: Sequence[str], item: str, answer: str) -> None:
    state = await talk(*texts)
    memory = Memory().updated(state["parts"])
    assert memory.item == item
    assert answer in state["answer"]


@pytest.mark.parametrize("text", ["👍", "ㅋㅋ", "오늘 날씨 어때?", "고마워", "대통령이 누구야?", "페티가 누구야?"])
async def test_another_subject_is_no_follow_up(text: str) -> None:
    state = await talk("우유팩 버리는 법", text)
    assert not state["understood"].follows
    assert "우유팩" not in state["answer"]


async def test_places_are_those_that_take_the_thing_that_was_talked_about() -> None:
    seen = Seen()
    state = await talk("건전지는?", "가까운 데 어디야?", seen=seen)
    (request,) = seen.searched
    assert (request.stream, request.latitude, request.longitude) == ("battery_bin", HERE.latitude, HERE.longitude)
    assert "망원동 주민센터 – 120m, 월드컵로 1, 지금 열려 있어요" in state["answer"]


async def test_a_broken_lamp_is_sent_to_no_box_for_lamps() -> None:
    seen = Seen()
    state = await talk("전구가 깨졌어요", "형광등이야", "근처 어디에 버려?", seen=seen)
    assert names(state)[0] == "waste"
    assert "수거함에서 받지 않으니" in state["answer"]
    assert all("lamp_bin" not in request.stream for request in seen.searched)


async def test_without_a_location_it_is_asked_for_and_then_the_question_is_answered() -> None:
    seen = Seen()
    state = await turn("건전지 수거함 어디 있어?", seen=seen)
    assert "위치를 알려 주시면" in state["answer"]
    assert "주민센터" in state["answer"], "what is known without it is told"
    memory = Memory().updated(state["parts"])
    state = await turn("여기!", memory, HERE, seen)
    assert names(state) == ["collection_point"]
    assert seen.searched[0].stream == "battery_bin"


async def test_a_thing_that_no_place_takes_is_told_so() -> None:
    seen = Seen()
    assert "따로 모으는 장소는 없어요" in (await talk("프라이팬", "가까운 데 어디?", seen=seen))["answer"]
    assert not seen.searched


async def test_parts_are_said_in_the_order_of_the_intents_each_stage_once() -> None:
    seen = Seen()
    state = await turn("건전지 버리는 법이랑 근처 수거함 알려줘", at=HERE, seen=seen)
    assert "".join(seen.said) == state["answer"]
    assert state["answer"].index("전지 수거함에 넣어") < state["answer"].index("망원동 주민센터")
    stages = [stage for stage, status in seen.events if status == "completed"]
    assert sorted(stages) == sorted({Stage.INTENT, Stage.WASTE, Stage.COLLECTION_POINT, Stage.ANSWER})
    assert set(stages) <= STAGES[Service.CHAT]


async def test_a_node_that_fails_costs_its_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()

    async def away(_request: object) -> places.SearchNearbyResponse:
        raise ConnectionError("away")

    monkeypatch.setattr(seen, "places", away)
    state = await turn("건전지 버리는 법이랑 근처 수거함 알려줘", at=HERE, seen=seen)
    assert "전지 수거함에 넣어" in state["answer"]
    assert "지금은 이 부분을 알아볼 수 없어요" in state["answer"]
    assert (Stage.COLLECTION_POINT, "failed") in seen.events


async def test_a_node_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "NODE_SECONDS", 0.05)
    seen = Seen()

    async def hang(_request: object) -> places.SearchNearbyResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(seen, "places", hang)
    assert "지금은 이 부분을 알아볼 수 없어요" in (await talk("건전지", "가까운 데 어디?", seen=seen))["answer"]


@pytest.mark.parametrize("intent", list(Intent))
async def test_every_intent_has_a_node_and_a_stage(intent: Intent) -> None:
    assert intent in nodes.NODES


@pytest.mark.parametrize("text", ["", "?" * 4000, "가" * 4000, "우유팩 " * 1300, "\u1100\u1161" * 500, "그럼?"])
async def test_odd_messages_are_answered(text: str) -> None:
    memory = Memory(thing="우유팩", item="milk_carton")
    assert (await turn(text, memory))["answer"]


def test_memory_of_another_release_is_read_as_far_as_it_goes() -> None:
    assert Memory.read(KNOWLEDGE, {"item": "milk_carton"}).thing == "우유팩"
    assert Memory.read(KNOWLEDGE, {"item": 7, "unknown": 1}) == Memory()
    assert Memory.read(KNOWLEDGE, None) == Memory()


def test_no_chat_is_reported_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    with pytest.raises(SystemExit, match="LANGSMITH_TRACING"):
        graph.build()


@pytest.mark.parametrize(("text", "asks"), [("비 와?", True), ("내일 냉장고 버려야 하는데 비 오는지도 알려줘", False)])
async def test_an_answer_about_waste_does_not_wait_for_the_place_of_the_weather(text: str, asks: bool) -> None:
    asked: list[str] = []

    async def ask(kind: str, message: str) -> Json | None:
        asked.append(kind)
        return None

    async def forecast(_square: Square) -> list[Hour]:
        return []

    seen = Seen()
    context = Context(
        knowledge=KNOWLEDGE, job_id="job-1", say=seen.say, started=seen.started, ended=seen.ended, llm=None, model="",
        places=None, own_words=OwnWords(KNOWLEDGE), ask=ask, forecast=forecast,
    )  # fmt: skip
    await graph.run(GRAPH, Question(text, Memory()), context)
    assert asked == ["location"] * asks
