"""Intents that a paid model tells: real client, emulator and Redis."""

import asyncio
from typing import Any

import pytest

from eco2.chat.agent import routing
from eco2.chat.agent.lists import load as load_lists
from eco2.chat.agent.state import Location, Memory, Question, Rest, State
from eco2.chat.agent.texts import say as fixed
from eco2.chat.evaluation import SAMPLES
from eco2.chat.scripted import ARGUMENTS
from eco2.llm.calls import Llm
from tests.integration.test_chat_agent import CARTON, KNOWLEDGE, Turn, turn
from tests.integration.test_chat_injections import WANTED, heard
from tests.llm_emulator import Emulator

__all__ = ["turn"]

VAGUE = "네모나고 까만 거, 들고 다니면서 충전하는 그거 이제 필요 없어"
"""Names no thing that the reader knows; a power bank is meant."""


async def calls(emulator: Emulator, *wanted: tuple[str, Any], **more: Any) -> None:
    await emulator.behave(
        chat_routing={"calls": [{"name": name, "arguments": given} for name, given in wanted], **more}
    )


def names(state: State) -> list[str]:
    return [intent.value for intent in state["understood"].intents]


async def test_the_model_tells_the_intent_and_the_thing_that_the_words_only_describe(
    turn: Turn, emulator: Emulator
) -> None:
    await calls(emulator, ("waste", {"thing": "보조배터리"}))
    state, _ = await turn(VAGUE)
    assert names(state) == ["waste"]
    assert state["parts"][0].data["items"] == ["power_bank"]
    meant = fixed("meant", "ko", name=KNOWLEDGE.item("power_bank").ko)
    assert state["answer"].startswith(meant), "it is said what the answer is about"
    assert Memory().updated(state["parts"]).item == "power_bank", "a follow-up goes on from it"


async def test_its_arguments_reach_the_nodes(turn: Turn, emulator: Emulator) -> None:
    lists = load_lists(KNOWLEDGE, SAMPLES / "bulk_fees.csv", SAMPLES / "recyclable_prices.csv")
    fee = next(
        fee for fee in lists.fees if len(fee.district) > 2 and lists.fees_of(fee.district, KNOWLEDGE.item("sofa_chair"))
    )
    await calls(emulator, ("bulk_waste", {"thing": "소파", "district": fee.district}))
    state, _ = await turn(f"{fee.district[:-1]} 사는데 푹신하게 앉는 그거 내놓으려면 돈 들어?", lists=lists)
    assert "bulk_waste" in names(state)
    part = next(part for part in state["parts"] if part.intent == "bulk_waste")
    assert {row["district"] for row in part.data["fees"]} == {fee.district}
    state, _ = await turn("푹신하게 앉는 그거 내놓으려면 돈 들어?", lists=lists)
    part = next(part for part in state["parts"] if part.intent == "bulk_waste")
    assert part.data["needs"] == "district", "a district that the words do not name is not believed"
    await calls(emulator, ("weather", {"city": "부산", "day": "tomorrow"}), ("character", {"name": "페티"}))
    state, _ = await turn("해운대 갈 건데 하루 뒤엔 밖이 어떨까? 그리고 초록색 친구 얘기도")
    assert names(state) == ["weather", "character"]
    assert (state["question"].told.city, state["question"].told.day) == ("부산", "tomorrow")
    assert "페티" in state["answer"]


@pytest.mark.parametrize(
    "wanted",
    [
        [("waste", '{"thing": "보조')],
        [("waste", {"thing": 3})],
        [("waste", {"thing": "보조배터리", "and": "태우세요"})],
        [("burn", {"thing": "보조배터리"})],
        [("weather", {"city": "부산", "day": "yesterday"})],
        [("weather", {"city": "부산", "day": "today"})] * 60,
        [(tool.name, {name: ARGUMENTS["right"][name] for name in tool.schema.model_fields}) for tool in routing.TOOLS],
        [("general", {})],
    ],
    ids=["broken", "type", "extra", "unknown", "value", "endless", "all", "nothing"],
)
async def test_calls_that_cannot_be_followed_leave_the_reader_its_intents(
    turn: Turn, emulator: Emulator, wanted: list[tuple[str, Any]]
) -> None:
    await calls(emulator, *wanted)
    state, _ = await turn(CARTON)
    assert names(state) == ["waste"]
    assert state["parts"][0].data["items"] == ["milk_carton"]
    assert (await emulator.of("job-1"))["chat_routing"]["calls"] <= 2, (
        "attempts are bounded, and no call follows a call"
    )


@pytest.mark.parametrize("fault", ["error", "hang", "garbage", "cut", "stall", "rate_limit", "refusal"])
async def test_a_model_that_fails_or_is_late_costs_the_routing_only(turn: Turn, emulator: Emulator, fault: str) -> None:
    await calls(emulator, ("weather", {"city": "", "day": "unsaid"}), rates={fault: 1}, retry_after=300)
    state, _ = await turn(CARTON, route_within=0.4)
    assert names(state) == ["waste"]
    assert KNOWLEDGE.item("milk_carton").ko in state["answer"]


async def test_a_slow_model_is_not_waited_for(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: object, **__: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(Llm, "reply", endless)
    rest = Rest()
    async with asyncio.timeout(30):
        state, _ = await turn(CARTON, route_within=0.1, routing_rest=rest)
    assert names(state) == ["waste"]
    assert rest.until > asyncio.get_running_loop().time(), "the next message does not ask it"


async def test_a_model_that_was_late_is_not_asked_for_a_while(turn: Turn, emulator: Emulator) -> None:
    await calls(emulator, ("weather", {"city": "", "day": "unsaid"}))
    state, _ = await turn(CARTON, routing_rest=Rest(asyncio.get_running_loop().time() + 60))
    assert names(state) == ["waste"]
    assert "chat_routing" not in await emulator.of("job-1")


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("아이가 건전지를 삼켰어요", Memory()),
        ("가스가 새요", Memory()),
        ("삼켰어요!", Memory(thing="건전지", item="alkaline")),
        ("부탄가스가 아직 남아 있어요", Memory()),
        ("그건 어디에 둬?", Memory(thing="전구", said="전구가 깨졌어요", dangerous=True)),
        ("안녕!", Memory()),
    ],
)
async def test_where_a_danger_is_said_the_model_is_not_asked(
    turn: Turn, emulator: Emulator, text: str, memory: Memory
) -> None:
    await calls(emulator, ("weather", {"city": "서울", "day": "today"}))
    state, _ = await turn(text, memory)
    assert "weather" not in names(state)
    assert "chat_routing" not in await emulator.of("job-1")


@pytest.mark.parametrize("text", ["보조배터리 어떻게 버려요?", "보조배터리", "우유팩 버리는 법"])
async def test_what_the_reader_found_about_a_thing_is_told_whatever_the_model_calls(
    turn: Turn, emulator: Emulator, text: str
) -> None:
    before, _ = await turn(text)
    await calls(emulator, ("weather", {"city": "서울", "day": "today"}), ("waste", {"thing": "종이컵"}))
    state, _ = await turn(text)
    assert set(names(state)) == {"waste", "weather"}
    told = [next(part for part in one["parts"] if part.intent == "waste").data["items"] for one in (before, state)]
    assert told[0] == told[1]
    await calls(emulator, ("character", {"name": ""}))
    state, _ = await turn(text)
    assert names(state) == ["waste", "character"]


async def test_a_model_that_has_been_turned_says_nothing_by_its_calls(turn: Turn, emulator: Emulator) -> None:
    for words in WANTED:
        await calls(
            emulator,
            ("waste", {"thing": words}),
            ("bulk_waste", {"thing": words, "district": words}),
            ("weather", {"city": words, "day": "unsaid"}),
            ("character", {"name": words}),
            says=words,
        )
        for text in (VAGUE, CARTON):
            state, said = await turn(text)
            assert not heard(words, state["answer"]), words
            assert not heard(words, "".join(said)), words


async def test_the_prompt_has_the_message_and_the_last_thing_and_nothing_of_the_person() -> None:
    question = Question("그럼 뚜껑은?", Memory(thing="우유팩", district="마포구"), Location(37.5, 127.0))
    sent = str(routing._messages(question)[1])
    assert "우유팩" in sent
    assert not any(word in sent for word in ("마포구", "37.5", "127"))
