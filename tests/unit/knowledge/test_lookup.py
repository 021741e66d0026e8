import pytest

from eco2.knowledge import Item, Knowledge, load, search, subjects


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("water_pet", "water_pet"),
        ("생수병", "water_pet"),
        (" 피자 박스 ", "pizza_box"),
        ("칼·가위", "knife_scissors"),
        ("TV", "tv"),
        ("티비", "tv"),
        ("LED  Bulb", "led_bulb"),
        ("Plastic Bottle", "water_pet"),
        ("칫솔", "toothbrush"),
        ("난좌", None),
        ("컵", None),
        ("책임", None),
        ("", None),
        ("고양이", None),
    ],
)
def test_resolve(knowledge: Knowledge, text: str, item: str | None) -> None:
    found = knowledge.resolve(text)
    assert (found and found.id) == item


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("생수병을 어떻게 버려요?", ["water_pet"]),
        ("기름 묻은 피자박스는요?", ["pizza_box"]),
        ("종이컵이랑 우유팩이에요", ["paper_cup", "milk_carton"]),
        ("큰피자박스인데 어디에", ["pizza_box"]),
        ("책을 버리고 싶어요", ["book"]),
        ("책임을 다하는 회의를 3회 했어요", []),
        ("약도를 보고 기타 등등 못 찾았어요", []),
        ("휴대폰 케이스", ["phone_case"]),
        ("깨진 유리 조심", ["broken_glass"]),
        ("where do I put a milk carton and batteries or cans", ["milk_carton", "alkaline", "drink_can"]),
        ("canned food scandal", []),
        ("사진을 찍었는데 모르겠어요", []),
        ("", []),
    ],
)
def test_what_a_sentence_names(knowledge: Knowledge, text: str, items: list[str]) -> None:
    assert named(knowledge, text) == items


def named(knowledge: Knowledge, text: str) -> list[str]:
    """Ids of items, and ambiguous words."""
    return [subject.id if isinstance(subject, Item) else subject.term for subject in subjects(knowledge, text)]


def test_ambiguous_words_ask(knowledge: Knowledge) -> None:
    ambiguity = knowledge.ambiguity("컵")
    assert ambiguity is not None
    assert ambiguity.ask_ko.endswith("?")
    assert knowledge.ambiguity("생수병") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("생수병이에요", ["water_pet"]),
        ("물병이랑 생수병", ["water_pet"]),
        ("종이컵이랑 우유팩이에요", ["paper_cup", "milk_carton"]),
        ("컵", ["컵"]),
        ("컵인데 뚜껑이 있어요", ["컵"]),
        ("컵이랑 병", ["컵", "병"]),
        ("컵하고 우유팩이요", ["컵", "milk_carton"]),
        ("우유팩이에요. 병은 없어요", ["milk_carton"]),
        ("이거 어떻게 버려요?", []),
        ("", []),
    ],
)
def test_subjects(knowledge: Knowledge, text: str, expected: list[str]) -> None:
    assert named(knowledge, text) == expected


def test_every_name_that_is_shown_can_be_chosen(knowledge: Knowledge) -> None:
    assert [item.id for item in knowledge.items.values() if knowledge.resolve(item.ko) != item] == []


@pytest.mark.parametrize(
    ("text", "first"),
    [("생수", "water_pet"), ("우유", "milk_carton"), ("Milk  C", "milk_carton"), ("신문지", "newspaper")],
)
def test_search_finds_parts_of_names_and_aliases(knowledge: Knowledge, text: str, first: str) -> None:
    assert search(knowledge, text)[0].id == first


def test_search(knowledge: Knowledge) -> None:
    everything = list(knowledge.items.values())
    assert search(knowledge, "") == everything
    assert search(knowledge, " ") == everything
    assert search(knowledge, "!?") == []
    assert search(knowledge, "고양이 사진") == []
    cups = knowledge.ambiguity("컵")
    assert cups is not None
    assert [item.id for item in search(knowledge, "컵")][: len(cups.candidates)] == list(cups.candidates)
    assert len({item.id for item in search(knowledge, "병")}) == len(search(knowledge, "병"))


@pytest.mark.parametrize(
    ("text", "situations"),
    [
        ("라벨이 아직 붙어 있고 안 씻었어요", {"label_on", "needs_rinse"}),
        ("라벨은 뗐고 깨끗하게 씻었어요", {"label_off", "clean"}),
        ("라벨 안 뗐어요", {"label_on"}),
        ("기름이 많이 묻었어요", {"grease_paper", "grease_plastic"}),
        ("기름이 묻지 않았어요", set()),
        ("안 깨졌어요", set()),
        ("유리가 깨졌어요", {"broken_glass", "lamp_broken", "mercury_broken"}),
        ("내용물이 좀 남아 있어요", {"content_partial", "chemical_full", "gas_left", "medicine_left"}),
        ("배터리가 부풀었어요", {"battery_swollen"}),
        ("가스가 남아 있어요", {"gas_left"}),
        ("이거 어떻게 버려요?", set()),
    ],
)
def test_situations_in(knowledge: Knowledge, text: str, situations: set[str]) -> None:
    assert {situation.id for situation in knowledge.situations_in(text)} == situations


def test_situations_come_by_precedence(knowledge: Knowledge) -> None:
    kinds = [s.kind for s in knowledge.situations_in("라벨이 붙어 있고 깨졌고 심하게 더러워요")]
    assert kinds[0] == "safety"
    assert kinds == sorted(kinds, key=knowledge.situation_book.precedence.index)


def test_streams_are_named_in_two_languages(knowledge: Knowledge) -> None:
    assert knowledge.stream("vinyl").en == "Film plastics"
    assert knowledge.stream("vinyl").kind == "recycle"
    assert all(stream.ko and stream.en and stream.where_ko for stream in knowledge.streams.values())
