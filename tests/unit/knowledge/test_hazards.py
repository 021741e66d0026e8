"""Nothing dangerous is ever sent where it can hurt people: things × states, in Korean and English."""

import itertools

import pytest

from eco2.knowledge import Knowledge, ask, load

LITHIUM = (
    "보조배터리",
    "휴대폰 배터리",
    "노트북 배터리",
    "드론 배터리",
    "킥보드 배터리",
    "리튬 배터리",
    "전동공구 배터리",
)
LITHIUM_EN = ("power bank", "phone battery", "laptop battery", "lithium battery", "drone battery", "e-scooter battery")
SWOLLEN = (
    "{}가 부풀었어요",
    "{} 빵빵해요",
    "배부른 {}",
    "{} 배불러서 종량제봉투에 버려도 돼요?",
    "{}에서 액이 새요",
    "{}가 뜨거워요",
    "{} 부풂",
)
SWOLLEN_EN = ("my {} is swollen", "a bloated {}", "{} is leaking", "the {} gets hot", "puffed up {} in the trash bag?")

POWERED = ("노트북", "휴대폰", "무선 이어폰", "손선풍기", "태블릿", "전자담배")
POWERED_EN = ("laptop", "phone", "earbuds", "handheld fan", "tablet")

GLASS = (
    "유리컵",
    "거울",
    "와인잔",
    "유리 접시",
    "맥주병",
    "잼병",
    "화분",
    "접시",
    "머그컵",
    "유리 뚜껑",
    "유리창",
    "유리",
)
GLASS_EN = ("glass cup", "mirror", "wine glass", "beer bottle", "jam jar", "plate", "mug", "window glass", "glass")
BROKEN = ("깨진 {}", "{} 깨졌어요", "{} 깨짐", "{}가 산산조각 났어요", "{} 깨졌는데 진공청소기로 밀어도 되나요?")
BROKEN_EN = ("broken {}", "the {} shattered", "a smashed {}", "I dropped the {} and it broke")

LAMPS = ("형광등", "형광등 램프", "삼파장 램프", "LED 전구")
LAMPS_EN = ("fluorescent lamp", "fluorescent tube", "CFL", "LED bulb")

CHEMICALS = ("뚫어뻥 액체", "배수구 세정제", "염색약", "파마약", "시너", "페인트", "농약", "쥐약", "염산")
CHEMICALS_EN = ("drain cleaner", "hair dye", "perm solution", "paint thinner", "pesticide", "rat poison")
LEFT = ("{} 남은 거", "{} 반 통 남았어요", "{} 가득 찬 통", "{} 한 병 하수구에 부어도 돼요?", "{} 안 쓴 새 것")
LEFT_EN = ("half full bottle of {}", "leftover {}", "unopened {}", "can I pour {} down the drain?")

CONTAINERS = ("락스통", "페인트통", "농약병")
IN_CONTAINERS = ("{}에 내용물이 반 남았어요", "{}에 아직 가득 들어 있어요", "{} 반쯤 남음", "안 쓴 {}")

MEDICINES = ("알약", "감기약", "물약", "시럽", "안약", "연고", "항생제")
MEDICINES_EN = ("pills", "cough syrup", "antibiotics", "eye drops", "ointment")
POURED = ("{} 남은 거", "{} 변기에 버려도 되나요?", "유통기한 지난 {}", "{} 싱크대에 부어도 돼요?")
POURED_EN = ("expired {}", "can I flush {} down the toilet?", "leftover {} in the sink?")

GAS = ("부탄가스", "부탄가스통", "헤어스프레이", "살충제 스프레이")
GAS_EN = ("butane can", "hairspray can", "spray paint can")


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def cases(sentences: tuple[str, ...], things: tuple[str, ...]) -> list[str]:
    return [sentence.format(thing) for sentence, thing in itertools.product(sentences, things)]


def streams(knowledge: Knowledge, question: str) -> list[str]:
    return [found["stream"] for found in ask(knowledge, question)["items"]]


@pytest.mark.parametrize("question", cases(SWOLLEN, LITHIUM) + cases(SWOLLEN_EN, LITHIUM_EN))
def test_a_damaged_battery_is_nothing_for_bag_or_box(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"professional"}


@pytest.mark.parametrize(
    "question",
    cases(("{} 배터리가 부풀었어요", "{}가 뜨거워요", "{}가 빵빵해졌어요"), POWERED)
    + cases(
        ("my {} has a swollen battery", "the battery in my {} is bulging", "{} with a bloated battery"), POWERED_EN
    ),
)
def test_so_is_a_device_with_one(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"professional"}


@pytest.mark.parametrize(
    "question",
    cases(
        ("{}에 건전지가 들어 있어요", "소리 나는 {}", "{}에서 불빛이 나요"),
        ("장난감", "로봇", "인형", "운동화", "신발"),
    )
    + cases(("{} with lights", "{} that light up", "{} with batteries inside"), ("toy", "sneakers", "kids shoes")),
)
def test_what_holds_a_battery_is_electronic(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"small_ewaste_bin"}


@pytest.mark.parametrize("question", cases(BROKEN, GLASS) + cases(BROKEN_EN, GLASS_EN))
def test_broken_glass_is_for_no_recycling_bin(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"noncombustible_sack"}


@pytest.mark.parametrize("question", cases(BROKEN, LAMPS) + cases(BROKEN_EN, LAMPS_EN))
def test_a_broken_lamp_is_for_no_lamp_box(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"noncombustible_sack"}


@pytest.mark.parametrize(
    "question",
    cases((*BROKEN, "{}가 깨져서 은색 구슬이 굴러다녀요"), ("수은 체온계", "수은 온도계"))
    + cases((*BROKEN_EN, "{} broke and silver beads are rolling around"), ("mercury thermometer",)),
)
def test_spilt_mercury_needs_somebody_to_be_asked(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"professional"}


@pytest.mark.parametrize(
    "question", cases(LEFT, CHEMICALS) + cases(LEFT_EN, CHEMICALS_EN) + cases(IN_CONTAINERS, CONTAINERS)
)
def test_chemicals_go_by_what_is_in_the_container(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"hazard_box"}


@pytest.mark.parametrize("question", cases(POURED, MEDICINES) + cases(POURED_EN, MEDICINES_EN))
def test_medicine_goes_into_its_box(knowledge: Knowledge, question: str) -> None:
    assert set(streams(knowledge, question)) == {"medicine_box"}


@pytest.mark.parametrize(
    "question",
    cases(("{} 반쯤 남았어요", "{} 가스 남음", "{} 새거 안 쓴 거"), GAS) + cases(("half full {}", "unused {}"), GAS_EN),
)
def test_gas_is_let_out_and_never_by_a_hole(knowledge: Knowledge, question: str) -> None:
    found = ask(knowledge, question)
    assert {item["stream"] for item in found["items"]} <= {"metal_can", "hazard_box"}
    assert found["items"]
    assert "구멍을 뚫으세요" not in found["answer"]


@pytest.mark.parametrize(
    "question",
    [
        "염산이랑 과산화수소 같이 버려도 되나요",
        "락스와 빙초산 남은 것",
        "can I throw bleach and drain cleaner away together",
    ],
)
def test_chemicals_named_together_are_kept_apart(knowledge: Knowledge, question: str) -> None:
    answer = ask(knowledge, question)
    assert answer["answer"].startswith(knowledge.emergencies.apart[0].say_en if "can" in question else "약품끼리 섞")


@pytest.mark.parametrize("question", ["락스 남은 것", "감기약이랑 락스 빈 통", "염산 남은 것이랑 종이컵"])
def test_one_chemical_alone_has_nothing_to_be_kept_from(knowledge: Knowledge, question: str) -> None:
    assert "약품끼리" not in ask(knowledge, question)["answer"]


@pytest.mark.parametrize("question", ["깨진 온도계에서 빨간 물이 나왔어요", "온도계 빨간 액 수은인가요"])
def test_red_liquid_is_no_mercury(knowledge: Knowledge, question: str) -> None:
    assert ask(knowledge, question)["items"][0]["item"] == "alcohol_thermometer"


@pytest.mark.parametrize("place", ["진열대", "서랍장", "캐비닛", "수납장"])
@pytest.mark.parametrize(
    ("inside", "stream"),
    [
        ("배터리가 든", "battery_bin"),
        ("배터리가 담긴", "battery_bin"),
        ("등유가 든", "professional"),
        ("등유가 들어있는", "professional"),
    ],
)
def test_a_danger_in_furniture_leaves_it(knowledge: Knowledge, place: str, inside: str, stream: str) -> None:
    assert {stream, "bulky"} <= set(streams(knowledge, f"{inside} {place} 어떻게 버려요?"))


def test_a_danger_that_was_in_furniture_is_left_out(knowledge: Knowledge) -> None:
    assert set(streams(knowledge, "등유가 들었던 캐비닛 버리려고요")) == {"bulky"}


@pytest.mark.parametrize("state", ["빈", "다 쓴", "큰", "작은", "헌", "찌그러진"])
@pytest.mark.parametrize(
    ("can", "item"),
    [
        ("부탄가스 캔", "butane_can"),
        ("스프레이 캔", "aerosol_can"),
        ("살충제 캔", "hazard_spray"),
        ("이소가스 캔", "butane_can"),
    ],
)
def test_a_can_of_gas_is_no_drink_can(knowledge: Knowledge, state: str, can: str, item: str) -> None:
    answer = ask(knowledge, f"{state} {can} 구멍 뚫어야 하나요")
    assert [one["item"] for one in answer["items"]] == [item]
