"""The part that each thing of a sentence plays, by kinds of sentences, Korean and English."""

import unicodedata

import pytest

from eco2.knowledge import Knowledge, load
from eco2.knowledge.mentions import Mention
from eco2.knowledge.models import Item
from eco2.knowledge.reading import read
from eco2.knowledge.words import lexicon
from eco2.knowledge.words.lexicon import Lexicon


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def name(mention: Mention) -> str:
    return mention.subject.id if isinstance(mention.subject, Item) else mention.subject.term


def named(knowledge: Knowledge, text: str) -> list[str]:
    return [name(mention) for mention in read(knowledge, text).mentions]


LISTS = [
    ("우유팩두유팩종이컵", ["milk_carton", "soymilk_carton", "paper_cup"]),
    ("형광등 건전지 라이터 버릴거에요", ["fluorescent_tube", "alkaline", "lighter"]),
    ("형광등 다쓴 건전지 라이터", ["fluorescent_tube", "alkaline", "lighter"]),
    ("소파 자전거 냄비 우산", ["sofa_chair", "bicycle", "pot", "umbrella"]),
    ("batteries fluorescent tubes butane cans", ["alkaline", "fluorescent_tube", "butane_can"]),
    ("a broken umbrella, two batteries and an old sofa", ["umbrella", "alkaline", "sofa_chair"]),
]
COLONS = [
    ("우산 버려요 :) 텀블러도", ["umbrella", "stainless_tumbler"]),
    ("umbrella :) and a mug", ["umbrella", "ceramic"]),
    ("우산: 1개, 형광등: 2개", ["umbrella", "fluorescent_tube"]),
    ("버릴 것 - 소파: 2인용, 침대: 킹", ["sofa_chair", "bed_mattress"]),
    ("세탁기(제조사: 삼성, 부속: 호스)", ["washer"]),
    ("소파: 쿠션, 우산", ["sofa_chair", "pillow_cushion", "umbrella"]),
    ("my old sofa: a pillow, a mug", ["sofa_chair", "pillow_cushion", "ceramic"]),
    ("소파 버리려고요: 쿠션, 머그컵도", ["sofa_chair", "pillow_cushion", "ceramic"]),
    ("소파, 침대: 우산, 텀블러", ["sofa_chair", "bed_mattress", "umbrella", "stainless_tumbler"]),
    ("소파 옆에서: 우산", ["umbrella"]),
    ("오전 10:30 소파, 머그컵", ["sofa_chair", "ceramic"]),
    ("cleaning my desk: old laptop, magazines", ["laptop", "book"]),
    ("냉장고 정리: 김치, 우유팩", ["kimchi", "milk_carton"]),
]
BESIDE_FURNITURE = [
    ("침대 베개 버려요", ["bed_mattress", "pillow_cushion"]),
    ("책상 모니터", ["wardrobe_desk", "monitor"]),
    ("책상 형광등", ["wardrobe_desk", "fluorescent_tube"]),
    ("싱크대 모래주머니", ["toilet_sink", "pp_sack"]),
    ("옷장 우산", ["wardrobe_desk", "umbrella"]),
    ("옷장 물먹는하마", ["desiccant"]),
    ("냉장고 김치", ["kimchi"]),
]
WITH_SIGNS = [
    ("찜질팩, 카페트, 무쇠팬 대나무꼬치", ["hotpack_gel", "carpet", "frying_pan", "wood_small"]),
    ("비커, 블랙박스 햄버거, 두꺼비집", ["glass_straw", "cctv", "bread_ricecake", "ewaste_parts"]),
    ("요거트 은박뚜껑, 빵끈, 우산", ["foil", "plastic_twine", "umbrella"]),
    ("기저귀 비닐우산", ["diaper", "umbrella"]),
]
CONTENT = [
    ("반찬 들었던 유리 밀폐용기", ["heat_glass"]),
    ("치킨 담아 온 종이상자", ["corrugated_box"]),
    ("커피 마신 텀블러", ["stainless_tumbler"]),
    ("고추장 한 통", ["paste_sauce"]),
    ("시너 가득 찬 통", ["paint_left"]),
    ("지갑 속 영수증", ["receipt"]),
    ("a bag of orange peels", ["fruit_peel"]),
    ("half full bottle of paint thinner", ["paint_left"]),
    ("bottle of shampoo", ["detergent_bottle"]),
    ("old kimchi, a whole tub of it", ["kimchi"]),
]
CLAUSES = [
    ("냉장고 배송 올 때 딸려온 골판지", ["corrugated_box"]),
    ("에어프라이어 새로 샀더니 온 스티로폼 상자", ["styrofoam_box"]),
    ("건조기에서 라이터가 나왔어요", ["lighter"]),
    ("노트북 살 때 받은 가방", ["bag"]),
    ("오븐에 구운 은박 접시", ["foil"]),
    ("물티슈로 닦은 유리컵", ["drinking_glass"]),
    ("I ordered a coffee machine and it came in bubble wrap", ["bubble_wrap"]),
    ("a lighter from my washing machine", ["lighter"]),
]
NOT_ASKED = [
    ("우유팩은 종이류랑 같이 버리면 되나요?", ["milk_carton"]),
    ("솜이불은 의류수거함에 넣어도 되나요?", ["cotton_duvet"]),
    ("페트병 말고 유리컵이요", ["drinking_glass"]),
    ("영수증 종이예요 일쓰예요?", ["receipt"]),
    ("뽁뽁이는 비닐인가요 플라스틱인가요", ["bubble_wrap"]),
    ("텀블러 뚜껑이 안 빠져요", ["stainless_tumbler"]),
    ("비타민 같은 영양제는요", ["supplement"]),
    ("my phone battery is puffed up like a pillow", ["liion_pack"]),
    ("not the umbrella, the receipt", ["receipt"]),
]
SIBLINGS = [
    ("분홍색 스티로폼 상자", ["foam_tray_colored"]),
    ("사탕수수 도시락 용기", ["bioplastic_cup"]),
    ("a pink styrofoam box", ["foam_tray_colored"]),
]


@pytest.mark.parametrize(
    ("text", "things"), [*LISTS, *COLONS, *BESIDE_FURNITURE, *WITH_SIGNS, *CONTENT, *CLAUSES, *NOT_ASKED, *SIBLINGS]
)
def test_what_is_asked_about(knowledge: Knowledge, text: str, things: list[str]) -> None:
    assert named(knowledge, text) == things


@pytest.mark.parametrize("text", ["the store said no", "책임을 다하는 회의", "오늘 이사했어요"])
def test_words_that_are_no_thing(knowledge: Knowledge, text: str) -> None:
    assert named(knowledge, text) == []


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("젖은 신문지랑 우산", [True, False]),
        ("우산이랑 젖은 신문지", [False, True]),
        ("안 젖은 신문지", [False]),
        ("젖지 않은 신문지", [False]),
        ("신문지가 젖었어요", [True]),
        ("an umbrella and a wet newspaper", [False, True]),
        ("a wet newspaper, an umbrella", [True, False]),
    ],
)
def test_a_state_belongs_to_its_thing(knowledge: Knowledge, text: str, states: list[bool]) -> None:
    mentions = read(knowledge, text).mentions
    assert ["wet" in [s.id for s in mention.situations] for mention in mentions] == states


def test_two_of_an_item_in_different_states_are_two(knowledge: Knowledge) -> None:
    mentions = read(knowledge, "clean milk carton and a dirty milk carton").mentions
    assert [[s.id for s in mention.situations] for mention in mentions] == [["clean"], ["soil_medium"]]


def test_a_kind_that_is_offered_is_an_option_and_no_thing(knowledge: Knowledge) -> None:
    reading = read(knowledge, "이 라면 봉지는 비닐인가요 종이인가요")
    assert [name(m) for m in reading.mentions] == ["snack_wrapper"]
    assert {m.role for m in reading.around} == {"option"}


def test_an_unknown_word_of_a_list_is_named(knowledge: Knowledge) -> None:
    assert read(knowledge, "건전지, 꽈배기틀, 우산").unread == ("꽈배기틀",)


@pytest.mark.parametrize(
    "text",
    [
        unicodedata.normalize("NFD", "우산이랑 건전지"),
        "우산\u200b이랑 건\u200d전지",
        "우산이랑\u3164건전지",
        "☂️ 우산이랑 건전지 🔋🔋",
        "우산이랑 건전지\ufe0f",
    ],
    ids=["decomposed", "zero width", "blank letter", "emoji", "variation"],
)
def test_letters_are_made_uniform_at_the_door(knowledge: Knowledge, text: str) -> None:
    assert named(knowledge, text) == ["umbrella", "alkaline"]


def test_vocabulary_that_refers_to_nothing_is_named() -> None:
    names = {"names": [{"item": "nothing", "ko": ["무"]}]}
    materials = {"materials": [{"id": "stone", "said": ["돌"], "streams": ["nowhere"]}]}
    book = Lexicon.model_validate({"names": names, "materials": materials})
    assert list(lexicon.problems(book, frozenset(), frozenset())) == [
        "words/names.yaml: names.nothing: no such item",
        "words/materials.yaml: materials.stone: no stream 'nowhere'",
    ]


@pytest.mark.parametrize("text", ["my manager is angry", "which brand is best", "the market is closed"])
def test_an_english_word_is_no_misspelt_thing(knowledge: Knowledge, text: str) -> None:
    assert not read(knowledge, text).mentions


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("stryofoam box", ["styrofoam_box"]),
        ("아이스 아메리카노 플라스틱컵", ["takeout_cup"]),
        ("배민으로 마라탕 시킴. 빨간 플라스틱통", ["food_tub"]),
        ("wine cork, egg carton (paper), jam jar", ["wood_small", "egg_tray_pulp", "jar"]),
        ("not the battery, just the remote control", ["remote"]),
        ("a tripod and a hammer, I'm keeping the radio", ["hand_tool", "hand_tool"]),
        ("pineapple crown: food waste or general?", ["pineapple_rind"]),
        ("LED거울 부직포쇼핑백 마데카솔", ["light_mirror", "nonwoven_bag", "ointment"]),
    ],
)
def test_which_items_are_asked_about(knowledge: Knowledge, text: str, items: list[str]) -> None:
    found = [mention.subject for mention in read(knowledge, text).mentions if mention.role != "option"]
    assert [one.id if isinstance(one, Item) else one.default for one in found] == items


def test_a_name_is_parted_only_where_it_is_written_as_two_words(knowledge: Knowledge) -> None:
    things = read(knowledge, "페트병 안에 담배꽁초가 들어있어요")
    assert [mention.span.term for mention in things.mentions] == ["페트병"]
    assert [situation.id for situation in things.mentions[0].situations] == ["butt_inside"]
