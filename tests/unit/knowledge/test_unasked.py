"""Things that a sentence only tells of have no section: where something was, what became of it, what it is made of."""

import pytest

from eco2.knowledge import Knowledge, ask, load


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.mark.parametrize(
    ("question", "items"),
    [
        ("장독대 치우는데 된장이랑 고무다라이 나왔어요", ["paste_sauce", "rubber_basin"]),
        ("서랍 엎었는데 자물쇠랑 명함 나옴", ["key_lock", "greeting_card"]),
        ("고추 말릴 때 깔던 비닐", ["plastic_bag"]),
        ("맥주병은 마트에 줬고 병뚜껑만 남았어요", ["bottle_cap_metal"]),
        ("소파는 당근에 팔았고 방석만 버릴거예요", ["pillow_cushion"]),
        ("매트리스랑 화장대 내놓으려고요 냉장고는 들고갈거라 상관없어요", ["bed_mattress", "vanity_tv_stand"]),
        ("등유가 한 통 남았어요 이 기름만 어떻게 버리죠", ["fuel"]),
        ("겉은 종이 안은 은박인데 안 떨어지는 보냉봉투", ["cooler_pouch"]),
        ("깨진 접시 신문지에 쌌는데 재활용 되나요", ["broken_glass"]),
        ("스티로폼 박스에 테이프랑 송장 붙어있는데", ["styrofoam_box"]),
        ("대형폐기물 스티커 붙였는데 안 가져가요", []),
        ("곰팡이 핀 식빵 음쓰 맞음?", ["bread_ricecake"]),
        ("어떻게 드릴 수도 없고 틀니랑 돋보기", ["denture", "eyeglasses"]),
        ("a mug, ceramic", ["ceramic"]),
        ("egg cartons (paper) and yogurt cups", ["egg_tray_pulp", "yogurt_cup"]),
        ("a tub stained orange, still orange after washing", ["food_tub"]),
        ("tea bags, egg shells - food waste?", ["tea_bag", "eggshell"]),
        ("old shirts, clothes bin ok?", ["clothes"]),
        ("a bag of soil and a garden hose", ["soil", "rubber_hose"]),
        ("the toy car lights up and the screw is stripped", ["toy_mixed"]),
    ],
)
def test_what_is_only_told_has_no_section(knowledge: Knowledge, question: str, items: list[str]) -> None:
    assert [item["item"] for item in ask(knowledge, question)["items"]] == items


@pytest.mark.parametrize(
    ("question", "items"),
    [
        ("수은체온계는 버렸고 건전지만 남았어요", {"mercury_device", "alkaline"}),
        ("농약 치우는데 살충제도 나왔어요", {"pesticide"}),
        ("There is still jam in the glass jar", {"jam_honey", "jar"}),
        ("need to get rid of a desk and a rice cooker", {"wardrobe_desk", "rice_cooker"}),
        ("a load of wire hangers and a mattress", {"wire_hanger", "bed_mattress"}),
        ("half a can of paint", {"paint_left"}),
    ],
)
def test_what_is_asked_keeps_its_section(knowledge: Knowledge, question: str, items: set[str]) -> None:
    assert items <= {item["item"] for item in ask(knowledge, question)["items"]}
