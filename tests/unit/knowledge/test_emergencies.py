"""In an emergency the first steps and the number to call come before advice about waste, in Korean and English."""

import itertools

import pytest

from eco2.knowledge import Knowledge, ask, load, recognising
from eco2.knowledge.asking import emergency_text, say

HAPPENED = [
    ("drank_poison", "락스 마셧어요"),
    ("drank_poison", "농약을 먹엇어요"),
    ("drank_poison", "I drnk bleach"),
    ("drank_poison", "나프탈렌을 먹음"),
    ("drank_poison", "I ate a mothball"),
    ("drank_poison", "알코올 램프 연료를 마셨어요"),
    ("crisis", "수면제 먹고 죽을래요"),
    ("crisis", "이제 죽어야겠어요"),
    ("drank_poison", "락스를 마셨어요"),
    ("drank_poison", "I drank bleach"),
    ("drank_poison", "농약 마심 어떡해요"),
    ("drank_poison", "my flatmate drank antifreeze"),
    ("drank_poison", "매니큐어 리무버 마심"),
    ("drank_poison", "세제를 먹었어요"),
    ("drank_poison", "휘발유를 한모금 마셨어요"),
    ("swallowed", "수은을 삼켰어요"),
    ("inhaled", "락스 냄새를 들이마셨어요"),
    ("mercury", "깨진 체온계"),
    ("mercury", "broken thermometer mercury"),
    ("mercury", "깨진 수은 체온계 청소기로 치워도 돼?"),
    ("oil_fire", "튀김하다가 냄비에 불붙엇어요"),
    ("swallowed_battery", "아이가 단추형 건전지 삼킨것 같아요"),
    ("swallowed_battery", "아기가 건전지를 먹었어요 어떡해요"),
    ("swallowed_battery", "조카가 자석 두 개를 삼켰는데 괜찮을까요"),
    ("swallowed_battery", "my son swallowed a button battery, what should I do?"),
    ("pet_swallowed", "강아지가 건전지 씹었어요"),
    ("pet_swallowed", "고양이가 쥐약을 먹었어요"),
    ("pet_swallowed", "my dog ate a pack of pills"),
    ("swallowed", "아이가 세제를 마셨어요"),
    ("swallowed", "할머니가 실수로 락스를 마셨어요"),
    ("swallowed", "알약을 한꺼번에 많이 먹었어요"),
    ("swallowed", "the baby swallowed detergent"),
    ("mixed_cleaners", "락스랑 식초 섞었는데 냄새가 나요"),
    ("mixed_cleaners", "락스랑식초섞었는데어떡해요"),
    ("mixed_cleaners", "I mixed bleach with vinegar and it smells"),
    ("mixed_cleaners", "락스통에 세제를 부었더니 통이 빵빵해졌어요"),
    ("mixed_cleaners", "I poured drain cleaner onto bleach and there are fumes"),
    ("carbon_monoxide", "보일러를 켜고부터 어지러워요"),
    ("carbon_monoxide", "the CO alarm is going off"),
    ("swallowed", "애가 물먹는하마 알갱이를 먹었어요"),
    ("swallowed", "my toddler ate silica gel"),
    ("mercury", "체온계가 부러져 은색 구슬이 굴러다녀요"),
    ("gas_smell", "가스통에서 가스 새는 냄새나요"),
    ("gas_smell", "집에서 가스 냄새가 나요"),
    ("gas_smell", "I smell gas in the kitchen"),
    ("leak", "부탄가스 못으로 구멍 뚫었는데 새요"),
    ("leak", "I pierced a butane can and it is leaking gas"),
    ("fire", "쓰레기통에서 불이 났어요"),
    ("fire", "보조배터리에서 연기가 나요"),
    ("fire", "the power bank is on fire"),
    ("needle_prick", "주사바늘에 찔렸어요"),
    ("needle_prick", "I was pricked by a needle in the trash"),
    ("mercury", "수은 온도계가 깨져서 수은이 흘렀어요"),
    ("mercury", "mercury spilled on the floor"),
    ("splashed", "락스가 눈에 튀었어요"),
    ("splashed", "bleach splashed in my eye"),
    ("inhaled", "살충제 냄새 맡고 어지러워요"),
    ("inhaled", "I inhaled paint fumes and feel dizzy"),
    ("bleeding", "깨진 유리에 손을 베였어요"),
    ("crisis", "아들 방에서 수면제를 잔뜩 모아둔 걸 봤는데 버려도 되나요"),
    ("crisis", "죽고 싶어서 약을 샀는데 그냥 버릴까요"),
    ("crisis", "my daughter has been hiding sleeping pills, how do I dispose of them"),
    ("crisis", "I want to die"),
    ("oil_fire", "튀김하다가 냄비에 불이 붙었어요"),
    ("oil_fire", "불났는데 물 부어도 되나요"),
    ("oil_fire", "the frying pan is on fire"),
    ("sealed_dry_ice", "드라이아이스를 물병에 넣고 뚜껑을 잠갔어요"),
    ("sealed_dry_ice", "we closed dry ice in a bottle and it is bulging"),
    ("trapped", "헌옷수거함에 손이 끼어서 안 빠져요"),
    ("trapped", "a man's arm is stuck in the clothing bin"),
    ("swallowed", "할아버지가 그라목손을 한 모금 드셨어요"),
    ("swallowed", "someone drank paraquat"),
    ("splashed", "과산화수소가 눈에 튀었어요"),
    ("bleeding", "I cut my hand on broken glass"),
]
NOT_HAPPENED = [
    "쥐가 쥐약 먹고 죽으면 어디에 버려요",
    "나프탈렌 버리는 법",
    "a box of mothballs",
    "다 쓴 건전지 어디에 버려요?",
    "강아지 간식 봉지",
    "아이가 먹다 남긴 이유식 병",
    "먹었던 감기약 빈 통",
    "부탄가스통 어떻게 버려요",
    "가스 다 쓴 라이터",
    "불에 탄 냄비",
    "주사기 버리는 법",
    "안 깨진 수은 온도계",
    "락스 빈 통",
    "자전거 타고 있던 헬멧",
    "PET bottle with a bit of glue",
    "a bleach bottle",
    "an old CO detector",
    "보일러 버리는 법",
    "락스 부어서 쓰고 남은 통",
    "커피 마셨는데 컵이랑 세제통 버려요",
    "밥 먹었어요 세제통은 어디에 버려요",
    "I drank a coffee, where does the bleach bottle go",
    "락스 안 마셨어요 남은 락스 버려요",
    "농약통을 깨먹었어요",
    "깨진 전자체온계",
    "깨진 온도계에서 빨간 물이 나왔어요",
    "cut flowers",
    "cat litter",
    "드라이아이스 어떻게 버려요",
    "드라이아이스가 든 스티로폼 상자",
    "모아둔 수면제 버리는 법",
    "기름 묻은 프라이팬",
    "손가락 장갑",
    "my stuffed animal's arm",
    "캠핑에서 쓰던 기름 난로",
]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.mark.parametrize(("wanted", "words"), HAPPENED)
def test_an_emergency_comes_first(knowledge: Knowledge, wanted: str, words: str) -> None:
    answer = ask(knowledge, words)
    assert answer["emergency"]["id"] == wanted
    emergency = next(one for one in knowledge.emergencies.emergencies if one.id == wanted)
    first = emergency.first_ko if answer["lang"] == "ko" else emergency.first_en
    assert answer["answer"].split("\n")[:2] == list(first)
    assert "clarify" not in answer, "nothing is asked of somebody in danger"


@pytest.mark.parametrize("words", NOT_HAPPENED)
def test_what_did_not_happen_is_none(knowledge: Knowledge, words: str) -> None:
    assert recognising.emergency(knowledge, words) is None


def test_each_says_whom_to_call_in_two_short_lines(knowledge: Knowledge) -> None:
    for one in knowledge.emergencies.emergencies:
        for lines in (one.first_ko, one.first_en):
            assert len(lines) == 2
            assert all(len(line) <= 120 for line in lines), one.id
            assert any(word in lines[1] for word in ("119", "동물병원", "vet")), one.id
    ids = {"swallowed", "pet_swallowed", "mixed_cleaners", "gas_smell", "leak", "inhaled", "splashed", "fire"}
    assert ids | {"needle_prick", "mercury"} <= {one.id for one in knowledge.emergencies.emergencies}


def test_what_is_dangerous_is_told_after_it_and_nothing_else(knowledge: Knowledge) -> None:
    answer = ask(knowledge, "강아지가 건전지 씹었어요, 우유팩도 있어요")
    assert [item["item"] for item in answer["items"]] == ["alkaline"]
    mixed = ask(knowledge, "락스랑 식초 섞었는데 냄새가 나요")
    assert {item["stream"] for item in mixed["items"]} <= {"hazard_box", "plastic"}


@pytest.mark.parametrize("words", ["깨진 체온계", "락스를 마셨어요", "my kid swallowed a button battery"])
def test_disposal_waits_until_the_danger_is_over(knowledge: Knowledge, words: str) -> None:
    answer = ask(knowledge, words)
    assert answer["answer"].split("\n\n")[1] == say("after_emergency", answer["lang"])
    assert say("unread", answer["lang"], names="swallowed") not in answer["answer"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("crisis", "kill myself with bleach"),
        ("crisis", "죽고 싶어요 수면제가 있어요"),
        ("gas_smell", "부탄가스가 새요 어떻게 버려요"),
        ("gas_smell", "스프레이 캔이 새요"),
    ],
)
def test_nothing_of_disposal_is_told_where_it_would_harm(knowledge: Knowledge, wanted: str, words: str) -> None:
    answer = ask(knowledge, words)
    (emergency,) = (one for one in knowledge.emergencies.emergencies if one.id == wanted)
    assert answer["items"] == []
    assert answer["answer"] == emergency_text(emergency, answer["lang"])


@pytest.mark.parametrize(
    ("words", "told"),
    [("형광등 깨졌는데", "자리를 피"), ("깨진 형광등", "자리를 피"), ("my fluorescent tube broke", "leave the room")],
)
def test_who_broke_a_lamp_leaves_the_room_first(knowledge: Knowledge, words: str, told: str) -> None:
    assert told in ask(knowledge, words)["items"][0]["steps"][0]


# What is dangerous although the thing is not known


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("빵빵하게 부풀었어요", "누르거나 뜯지 마세요"),
        ("it is swollen and bulging", "do not press or open it"),
    ],
)
def test_a_danger_without_a_thing_is_told_before_the_question(knowledge: Knowledge, words: str, told: str) -> None:
    answer = ask(knowledge, words)
    assert told in answer["answer"].split("\n\n")[0]
    assert answer["clarify"]
    assert [item["stream"] for item in answer["items"]] == ["professional"]


HAZARDS = ("건전지", "형광등", "라이터", "부탄가스", "보조배터리", "알약", "농약", "페인트")


@pytest.mark.parametrize("separator", [", ", "랑 ", " 그리고 "])
def test_each_dangerous_thing_of_a_list_is_answered_or_named(knowledge: Knowledge, separator: str) -> None:
    for things in itertools.islice(itertools.permutations(HAZARDS, 4), 0, None, 97):
        answer = ask(knowledge, separator.join([*things, "머그컵"]) + " 어떻게 버려요?")
        told = answer["answer"]
        for thing in things:
            names = {knowledge.item(i).ko for i in knowledge.terms[thing]} | {thing}
            assert any(name in told for name in names), (things, thing, told)
