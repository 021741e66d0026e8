"""Questions about how collection works are answered, in both languages, with what is known of a district."""

import pytest

from eco2.knowledge import Knowledge, ask, load

ASKED = [
    ("collection_days", "도봉구 비닐 내놓는 날", True),
    ("collection_days", "재활용 쓰레기 무슨 요일에 내놔요?", False),
    ("collection_days", "What day is recycling collected?", False),
    ("missed_collection", "쓰레기를 안 가져가요", False),
    ("missed_collection", "my trash was not collected", False),
    ("holidays", "추석 연휴에 쓰레기 내놔도 되나요", False),
    ("holidays", "is trash collected on holidays like Chuseok?", False),
    ("fines", "무단 투기하면 얼마 내나요", False),
    ("fines", "how much is the fine for illegal dumping", False),
    ("report_dumping", "옆집이 쓰레기를 몰래 버려요 어디다 신고하나요", False),
    ("bag_fee", "종량제봉투 20리터 얼마예요", False),
    ("bag_fee", "how much is a trash bag", False),
    ("where_to_buy_bags", "종량제봉투 어디서 사나요", False),
    ("where_to_buy_bags", "where can I buy special bags", False),
    ("where_to_buy_sacks", "불연성 마대 파는 곳", False),
    ("old_bags", "이사했는데 예전 봉투를 써도 될까", False),
    ("old_bags", "I moved, can I use my old garbage bags?", False),
    ("food_waste_fee", "음식물 카드는 어디서 받나요", False),
    ("bulky_booking", "대형폐기물 신고 어떻게 해요", False),
    ("bulky_booking", "how do I book bulky waste", False),
    ("bulky_fee", "대형폐기물 스티커 얼마예요", False),
    ("free_pickup", "무상수거 되나요", False),
    ("nothing_fits", "어디에도 안 맞는 쓰레기는요", False),
    ("drop_off_places", "건전지 수거함 어디 있나요", False),
    ("collection_place", "쓰레기 어디에 내놓나요", False),
    ("deposit", "공병 보증금 얼마예요", False),
    ("reuse", "나눔하고 싶은데 어디에 해요", False),
    ("contact", "쓰레기 문의 전화번호", False),
    ("moving_out", "이사하면서 나온 쓰레기", False),
    ("why_sort", "왜 분리수거 해야 해요", False),
    ("cancel_booking", "대형폐기물 신청한 거 취소하고 싶어요", False),
    ("cancel_booking", "can I cancel my bulky waste booking", False),
    ("paid_bag", "what is a jongnyangje bag", False),
    ("reuse_bag", "재사용 종량제봉투에 쓰레기 담아도 되나요", False),
    ("full_bin", "헌옷수거함이 꽉 찼어요", False),
    ("full_bin", "the food waste bins are overflowing", False),
    ("bulky_fee", "what do they charge for a wardrobe", False),
]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.mark.parametrize(("topic", "question", "district"), ASKED)
def test_a_question_about_the_system_is_answered(
    knowledge: Knowledge, topic: str, question: str, district: bool
) -> None:
    answer = ask(knowledge, question)
    assert topic in [one["id"] for one in answer["topics"]]
    one = next(one for one in knowledge.topics.topics if one.id == topic)
    assert (one.answer_ko if answer["lang"] == "ko" else one.answer_en) in answer["answer"]
    if district:
        assert "도봉구의 자료는 아직 없어요" in answer["answer"]
        assert "02-120" in answer["answer"]


@pytest.mark.parametrize("district", [None, "서울", "서울 강서구", "제주", "경기도 수원시", "울릉군", "없는구"])
def test_no_answer_is_ever_empty(knowledge: Knowledge, district: str | None) -> None:
    for _, question, _ in ASKED:
        assert ask(knowledge, question, district)["answer"].strip(), question
    for question in ("", "?", "ㅋㅋ", "서울", "강서구", "제주 어때"):
        assert ask(knowledge, question, district)["answer"].strip(), question


def test_there_are_about_twenty_with_sources(knowledge: Knowledge) -> None:
    assert len(knowledge.topics.topics) >= 20
    assert all(one.sources and set(one.sources) <= knowledge.sources.keys() for one in knowledge.topics.topics)


@pytest.mark.parametrize(
    "question", ["라면 봉지는 비닐인가요 일반쓰레기인가요?", "냉장고 버리기", "스티커 붙은 상자", "봉투에 든 과자"]
)
def test_a_question_about_a_thing_is_none_about_the_system(knowledge: Knowledge, question: str) -> None:
    answer = ask(knowledge, question)
    assert "topics" not in answer
    assert answer["items"]


def test_where_a_rule_of_the_city_was_applied_nothing_is_said_to_be_missing(knowledge: Knowledge) -> None:
    answer = ask(knowledge, "종이컵", "서울 마포구")
    assert [item["stream"] for item in answer["items"]] == ["general_bag"]
    assert "서울특별시" in answer["answer"]
    assert "아직 없어" not in answer["answer"]
