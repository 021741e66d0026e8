"""The stages of a scan as functions."""

import re
from dataclasses import replace

import pytest

from eco2 import knowledge as kb
from eco2.knowledge import regions
from eco2.knowledge.districts import Districts
from eco2.scan import candidates, choice, classified, stages
from eco2.scan.audience import ANYBODY, Audience
from eco2.scan.candidates import shows
from eco2.scan.outputs import Candidate, FinalAnswer, Other, VisionResult

NOTHING_UNDONE = FinalAnswer({}, (), "")


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def seen(item_id: str | None, *candidates: str, waste: bool = True) -> VisionResult:
    found = tuple(Candidate(candidate, 0.3) for candidate in candidates)
    return VisionResult(item_id, 0.9, found, needs_choice=item_id is None, waste=waste, model="test")


def test_what_was_seen_finds_its_rule(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("ceramic", "ceramic"), None)
    assert (rule.item_id, rule.needs_choice, rule.stream_id) == ("ceramic", False, "noncombustible_sack")
    assert rule.disposal_rules


def test_words_beat_the_photo_about_what_it_is(knowledge: kb.Knowledge) -> None:
    for photo in (seen(None, "ceramic"), seen("ceramic", "ceramic"), seen("drink_can", "drink_can")):
        rule = stages.match(knowledge, photo, "우유팩이에요")
        assert rule.item_id == "milk_carton"
        assert not rule.shown, "and earn nothing that the photo does not show"
    assert stages.match(knowledge, seen("drink_can"), "종이컵인데 커피가 남았어요").item_id == "paper_cup"


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        ("plastic_bag", "김치 국물이 묻었어요"),
        ("water_pet", "뚜껑은 어떻게 해요?"),
        ("water_pet", "라벨이 안 떨어져요"),
        ("water_pet", "건전지도 같이 있어요"),
        ("water_pet", "페트병이에요"),
        ("ceramic", "어떻게 버려요?"),
    ],
)
def test_what_is_in_it_a_part_of_it_or_beside_it_is_not_the_thing(
    knowledge: kb.Knowledge, photo: str, words: str
) -> None:
    assert stages.match(knowledge, seen(photo), words).item_id == photo


def test_words_for_several_things_against_the_photo_offer_the_choice(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("ceramic"), "이거 페트병인데 어떻게 버려요")
    names = [knowledge.item(name).ko for name in ("water_pet", "colored_pet", "oil_soysauce_pet", "ceramic")]
    assert (rule.item_id, rule.needs_choice) == (None, True)
    assert [row.minor_category for row in rule.candidates] == names


def test_words_never_beat_the_dangers_of_a_photo(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("power_bank"), "플라스틱 통이에요 우유팩이에요")
    named = [row.minor_category for row in rule.candidates]
    assert rule.item_id == "power_bank" or knowledge.item("power_bank").ko in named
    photo = replace(seen("phone"), situations=("battery_swollen",))
    assert stages.match(knowledge, photo, "휴대폰이에요").stream_id == "professional"


@pytest.mark.parametrize("words", ["배터리가 부풀었어요", "the battery is swollen"])
def test_danger_that_is_told_comes_first_whatever_the_photo_shows(knowledge: kb.Knowledge, words: str) -> None:
    audience = Audience("ko" if re.search("[가-힣]", words) else "en", None)
    told = "누르거나 뜯지 마세요" if audience.lang == "ko" else "do not press or open it"
    for photo in (seen("phone"), seen(None, "phone", "ceramic"), seen(None), seen(None, waste=False)):
        rule = stages.match(knowledge, photo, words, audience)
        answer = stages.answer(knowledge, rule, words, audience)
        assert any(told in step for step in list(answer.disposal_steps.values())[:2])
        assert stages.reward(knowledge, rule, answer, audience) is None


def test_other_things_named_are_answered_in_their_own_situation(knowledge: kb.Knowledge) -> None:
    words = "형광등 깨진 것도 있어요"
    seoul = Audience.of(knowledge, "ko", "서울특별시 마포구")
    for audience, stream in ((ANYBODY, "noncombustible_sack"), (seoul, "general_bag")):
        rule = stages.match(knowledge, seen("drinking_glass"), words, audience)
        assert rule.item_id == "drinking_glass"
        assert "broken_glass" not in rule.situations, "the glass is whole"
        (lamp,) = rule.others
        assert (lamp.stream and lamp.stream.id, lamp.confidence) == (stream, 0.0)
        assert "환기" in str(lamp.final_answer)
        steps = list(stages.answer(knowledge, rule, words, audience).disposal_steps.values())
        assert any("환기" in step and "장갑" in step for step in steps)


def test_an_emergency_comes_before_the_thing_and_earns_nothing(knowledge: kb.Knowledge) -> None:
    words = "아이가 단추형 건전지를 삼켰어요"
    for photo in (seen("milk_carton", "milk_carton"), seen(None, "ceramic")):
        rule = stages.match(knowledge, photo, words)
        answer = stages.answer(knowledge, rule, words)
        assert "119" in answer.disposal_steps["단계1"]
        assert answer.user_answer.startswith("토하게 하지")
        assert stages.reward(knowledge, rule, answer) is None


def test_a_sure_material_is_told_at_once_and_only_what_would_change_it_is_asked(knowledge: kb.Knowledge) -> None:
    guesses = (Candidate("jar", 0.5), Candidate("drink_bottle", 0.4), Candidate("soju_bottle", 0.1))
    vision = VisionResult(None, 0.97, guesses, True, True, "test", category="유리병")
    for audience, told in ((ANYBODY, "유리병"), (Audience("en", None), "Glass bottles")):
        rule = stages.match(knowledge, vision, None, audience)
        assert rule.stream_id == "glass_bottle"
        assert [row.minor_category for row in rule.candidates] == [knowledge.item("soju_bottle").ko]
        answer = stages.answer(knowledge, rule, None, audience)
        assert told in answer.disposal_steps["단계1"]
        assert told in answer.user_answer
        assert stages.reward(knowledge, rule, answer) is None
        classes = classified.classification(knowledge, rule, None).classification
        assert classes.middle_category == "유리병"
        assert classes.minor_category == classified.UNKNOWN
        refused = choice.none_of_these(rule)
        assert stages.unsure(refused)
        assert classified.stream(knowledge, refused) is None


def test_dangerous_look_alikes_are_among_the_candidates(knowledge: kb.Knowledge) -> None:
    for guess, danger in (("drink_can", "butane_can"), ("led_bulb", "fluorescent_tube")):
        rule = stages.match(knowledge, seen(None, guess), None)
        rows = {row.minor_category: row.confidence for row in rule.candidates}
        assert rows[knowledge.item(danger).ko] == 0.0
        assert len(rule.candidates) <= candidates.MAX_CANDIDATES


def test_a_rerouted_thing_is_of_the_class_where_it_goes(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("pizza_box"), "기름이 잔뜩 배었어요")
    classes = classified.classification(knowledge, rule, None).classification
    assert classes.major_category == "일반종량제폐기물"
    assert classes.minor_category == knowledge.item("pizza_box").ko


def test_only_what_concerns_the_thing_is_tagged(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("drink_bottle"), "깨졌어요")
    assert classified.classification(knowledge, rule, None).situation_tags == (knowledge.situations["broken_glass"].ko,)


def test_rules_of_the_release_before_are_read(knowledge: kb.Knowledge) -> None:
    """Neither what is new in them is missed, nor a situation that is gone."""
    rule = stages.match(knowledge, seen("water_pet", "water_pet"), "라벨은 뗐어요")
    old = replace(rule, situations=(*rule.situations, "gone"))
    assert stages.answer(knowledge, old, None).disposal_steps
    assert classified.classification(knowledge, old, None).classification.middle_category == "무색페트병"
    asked_before = stages.match(knowledge, seen(None, "jar", "ceramic"), None)
    assert classified.stream(knowledge, asked_before) is None


def asked(knowledge: kb.Knowledge, vision: VisionResult, words: str | None) -> tuple[list[tuple[str, float]], str]:
    """(candidates, answer) of a scan that has to ask: nothing is known of it and nothing earned."""
    rule = stages.match(knowledge, vision, words)
    answer = stages.answer(knowledge, rule, words)
    assert (rule.item_id, rule.needs_choice) == (None, True)
    assert any(text.strip() for text in answer.insufficiencies)
    assert stages.reward(knowledge, rule, answer) is None
    return [(row.minor_category, row.confidence) for row in rule.candidates], answer.user_answer


@pytest.mark.parametrize("words", [None, "고양이예요"])
def test_a_photo_without_waste_is_told_and_nothing_is_guessed(knowledge: kb.Knowledge, words: str | None) -> None:
    candidates, answer = asked(knowledge, seen(None, "ceramic", waste=False), words)
    assert candidates == []
    assert "쓰레기가 보이지 않아요" in answer
    assert "찍어" in answer
    assert "이름" in answer
    assert answer != asked(knowledge, seen(None), words)[1], "another answer than that to an unclear photo"


# Whom it answers


def test_where_a_district_has_its_own_way_its_people_are_sent_there(knowledge: kb.Knowledge) -> None:
    here = Audience.of(knowledge, "ko", "서울특별시 강서구")
    paint = seen("paint_left")
    assert stages.match(knowledge, paint, None).stream_id != "professional"
    rule = stages.match(knowledge, paint, None, here)
    assert rule.stream_id == "professional"
    assert "강서구는 남은 페인트" in stages.answer(knowledge, rule, None, here).user_answer
    assert "강서구" not in stages.answer(knowledge, stages.match(knowledge, paint, None), None).user_answer
    both = replace(seen("ceramic"), others=(Other("paint_left", 0.9, ()),))
    (beside,) = stages.match(knowledge, both, None, here).others
    assert beside.stream
    assert beside.stream.id == "professional"


@pytest.mark.parametrize("vision", [seen("milk_carton"), seen(None, "ceramic"), seen(None, waste=False)])
def test_who_prefers_english_is_answered_in_english(knowledge: kb.Knowledge, vision: VisionResult) -> None:
    audience = Audience.of(knowledge, "en", None)
    answer = stages.answer(knowledge, stages.match(knowledge, vision, None, audience), None, audience)
    said = [answer.user_answer, *answer.disposal_steps.values(), *answer.insufficiencies]
    assert said[0]
    assert not [text for text in said if re.search("[가-힣]", text)]


@pytest.mark.parametrize("district", [None, "부산광역시 중구", "a place of former times"])
def test_where_no_rules_are_known_the_national_ones_hold(knowledge: kb.Knowledge, district: str | None) -> None:
    assert Audience.of(knowledge, None, district) == ANYBODY


def test_every_district_of_korea_has_one_set_of_rules_at_most(knowledge: kb.Knowledge) -> None:
    names = Districts.load(None).names
    ruled = {name: region.id for name in names if (region := regions.of(knowledge, name))}
    assert ruled["서울특별시 강서구"] == "seoul_gangseo"
    assert ruled["서울특별시 마포구"] == "seoul", "the city's rules hold in a district without its own"
    assert "부산광역시 강서구" not in ruled
    assert {region.id for region in knowledge.regions.values()} == set(ruled.values())


def test_words_decide_over_a_photo_without_waste_but_earn_nothing(knowledge: kb.Knowledge) -> None:
    earned = {}
    for waste in (True, False):
        rule = stages.match(knowledge, seen(None, "water_pet", waste=waste), "생수병이에요")
        answer = stages.answer(knowledge, rule, "생수병이에요")
        assert (rule.item_id, rule.needs_choice, rule.waste) == ("water_pet", False, waste)
        earned[waste] = stages.reward(knowledge, rule, answer)
        assert stages.reward(knowledge, rule, NOTHING_UNDONE) == earned[waste]
        assert ("확인하지 못했어요" in answer.user_answer) is not waste
    assert earned[True] is not None
    assert earned[False] is None


@pytest.mark.parametrize(
    ("candidates", "words", "earns"),
    [
        ((), "투명 페트병이에요", False),
        ((("ceramic", 0.5),), "투명 페트병이에요", False),
        ((("water_pet", 0.1),), "투명 페트병이에요", False),
        ((("water_pet", 0.1), ("soda_pet_clear", 0.12)), "투명 페트병이에요", True),
        ((("delivery_tray", 0.25),), "투명 페트병이에요", True),
        ((("newspaper", 0.25),), "우유팩이에요", True),
        ((("newspaper", 0.25),), "음료 캔이에요", False),
    ],
)
def test_words_earn_only_what_the_photo_bears_out(
    knowledge: kb.Knowledge, candidates: tuple[tuple[str, float], ...], words: str, earns: bool
) -> None:
    guesses = tuple(Candidate(name, share) for name, share in candidates)
    vision = VisionResult(None, 0.3, guesses, needs_choice=True, waste=True, model="test")
    for audience in (ANYBODY, Audience("en", None)):
        rule = stages.match(knowledge, vision, words, audience)
        answer = stages.answer(knowledge, rule, words, audience)
        assert rule.item_id is not None, "the words are answered in any case"
        assert (stages.reward(knowledge, rule, answer) is not None) is earns
        assert (not answer.insufficiencies) is earns, "it says why"
        assert shows(knowledge, vision, knowledge.item(rule.item_id)) is earns, "so is a choice"


def test_a_choice_after_a_photo_without_waste_earns_nothing(knowledge: kb.Knowledge) -> None:
    rule = stages.rule_of(knowledge, knowledge.item("water_pet"), None, waste=False)
    assert stages.reward(knowledge, rule, stages.answer(knowledge, rule, None)) is None


@pytest.mark.parametrize("words", ["페트병", "페트병이에요. 어떻게 버려요?"])
def test_a_word_for_several_things_is_asked_back_before_the_guesses(knowledge: kb.Knowledge, words: str) -> None:
    candidates, answer = asked(knowledge, seen(None, "ceramic", "colored_pet"), words)
    names = [knowledge.item(name).ko for name in ("water_pet", "colored_pet", "oil_soysauce_pet", "ceramic")]
    assert candidates == list(zip(names, (0.0, 0.3, 0.0, 0.3), strict=True)), "0: only the words say so"
    question = knowledge.ambiguity("페트병")
    assert question is not None
    assert answer.startswith(question.ask_ko)
    assert names[3] not in answer


@pytest.mark.parametrize(
    ("words", "named", "candidates"),
    [
        ("우유팩이랑 신문지요", ("우유팩", "신문지"), ["우유팩", "신문지"]),
        ("캔이랑 유리병", ("음료 캔", "유리병"), ["음료 캔", "드링크·음료 유리병", "소주병", "잼·소스 유리병"]),
        ("캔, 유리병은요?", ("음료 캔", "유리병"), ["음료 캔", "드링크·음료 유리병", "소주병", "잼·소스 유리병"]),
    ],
)
def test_two_things_are_asked_to_come_one_at_a_time(
    knowledge: kb.Knowledge, words: str, named: tuple[str, ...], candidates: list[str]
) -> None:
    for waste in (True, False):
        found, answer = asked(knowledge, seen(None, waste=waste), words)
        assert found == [(name, 0.0) for name in candidates]
        assert "한 번에 한 가지씩" in answer
        assert ", ".join(named) in answer
        assert ("쓰레기가 보이지 않아요" in answer) is not waste


def test_a_part_that_is_mentioned_is_no_second_thing(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen(None), "생수병인데 뚜껑은 어떻게 해요?")
    assert rule.item_id == "water_pet"


def test_guesses_that_are_noise_are_not_shown(knowledge: kb.Knowledge) -> None:
    guesses = (Candidate("ceramic", 0.08), Candidate("milk_carton", 0.0799))
    vision = VisionResult(None, 0.08, guesses, needs_choice=True, waste=True, model="test")
    assert [name for name, _ in asked(knowledge, vision, None)[0]] == [knowledge.item("ceramic").ko]
    named, _ = asked(knowledge, vision, "우유팩이랑 신문지요")
    assert named[0] == ("우유팩", 0.0799), "what the words name is shown in any case"


@pytest.mark.parametrize("words", ["우유팩이랑 신문지요", "이거 어떻게 버려요?", None])
def test_without_one_clear_name_the_user_is_asked(knowledge: kb.Knowledge, words: str | None) -> None:
    rule = stages.match(knowledge, seen(None, "milk_carton", "newspaper"), words)
    assert (rule.item_id, rule.needs_choice) == (None, True)
    assert [row.minor_category for row in rule.candidates] == [
        knowledge.item("milk_carton").ko,
        knowledge.item("newspaper").ko,
    ]
    answer = stages.answer(knowledge, rule, words)
    assert any(text.strip() for text in answer.insufficiencies)
    assert stages.reward(knowledge, rule, answer) is None
    classes = classified.classification(knowledge, rule, words).classification
    assert set(vars(classes).values()) == {classified.UNKNOWN}
    majors = {item.classification.major_category for item in knowledge.items.values()}
    assert classified.UNKNOWN not in majors


def test_a_recyclable_that_was_prepared_is_rewarded(knowledge: kb.Knowledge) -> None:
    rule = stages.match(knowledge, seen("milk_carton"), None)
    reward = stages.reward(knowledge, rule, stages.answer(knowledge, rule, None))
    assert reward is not None
    assert (reward.name, reward.match_reason.partition(">")[0]) == ("팩토리", "종이팩")


@pytest.mark.parametrize(("item", "words"), [("ceramic", None), ("milk_carton", "내용물이 남았어요")])
def test_other_classes_and_undone_work_are_not(knowledge: kb.Knowledge, item: str, words: str | None) -> None:
    rule = stages.match(knowledge, seen(item), words)
    assert stages.reward(knowledge, rule, stages.answer(knowledge, rule, words)) is None


def test_every_recyclable_earns_its_character_unless_it_has_to_be_arranged_first(knowledge: kb.Knowledge) -> None:
    recyclables = [i for i in knowledge.items.values() if i.classification.major_category == stages.RECYCLABLE]
    earned = {
        item.id: stages.reward(knowledge, stages.rule_of(knowledge, item, None), NOTHING_UNDONE) for item in recyclables
    }
    without = {knowledge.item(name).stream for name, reward in earned.items() if reward is None}
    assert without == {"ewaste_pickup", "professional"}
    assert {reward.type for reward in earned.values() if reward} == {c.match for c in knowledge.characters if c.match}


@pytest.mark.parametrize("audience", [ANYBODY, Audience("en", None)])
@pytest.mark.parametrize(
    ("item", "situations"),
    [
        ("liion_pack", ["battery_swollen"]),
        ("phone", ["battery_swollen"]),
        ("phone", ["battery_inside"]),
        ("alkaline", ["battery_leak"]),
        ("drink_can", ["sharp"]),
        ("butane_can", ["gas_container"]),
        ("drink_bottle", ["broken_glass"]),
        ("swollen_battery", []),
        ("fridge", []),
    ],
)
def test_danger_and_what_has_to_be_arranged_earn_nothing_and_say_why(
    knowledge: kb.Knowledge, item: str, situations: list[str], audience: Audience
) -> None:
    rule = stages.match(knowledge, replace(seen(item), situations=tuple(situations)), None, audience)
    answer = stages.answer(knowledge, rule, None, audience)
    assert any(text.strip() for text in answer.insufficiencies)
    assert stages.reward(knowledge, rule, answer) is None
    assert stages.reward(knowledge, rule, NOTHING_UNDONE) is None


def test_a_character_speaks_the_language_of_the_user(knowledge: kb.Knowledge) -> None:
    for lang in ("ko", "en"):
        audience = Audience.of(knowledge, lang, None)
        rule = stages.match(knowledge, seen("milk_carton"), None, audience)
        reward = stages.reward(knowledge, rule, stages.answer(knowledge, rule, None, audience), audience)
        assert reward is not None
        assert bool(re.search("[가-힣]", reward.dialog)) is (lang == "ko")
        assert reward.name == "팩토리", "apps look characters up by name"
    assert all(character.dialog_en for character in knowledge.characters)


def test_what_a_district_sends_into_the_bag_earns_nothing_and_says_why(knowledge: kb.Knowledge) -> None:
    seoul = Audience.of(knowledge, "ko", "서울특별시 마포구")
    for audience, earns in ((ANYBODY, True), (seoul, False)):
        rule = stages.match(knowledge, seen("paper_cup"), None, audience)
        answer = stages.answer(knowledge, rule, None, audience)
        assert (stages.reward(knowledge, rule, answer) is not None) is earns
        assert (not answer.insufficiencies) is earns


def test_a_situation_changes_the_stream_and_is_told(knowledge: kb.Knowledge) -> None:
    item = knowledge.item("pizza_box")
    plain = stages.rule_of(knowledge, item, None)
    greasy = stages.rule_of(knowledge, item, "기름이 잔뜩 배었어요")
    assert classified.stream(knowledge, plain) != classified.stream(knowledge, greasy)
    assert classified.classification(knowledge, greasy, "기름이 잔뜩 배었어요").situation_tags


def test_every_thing_in_the_photo_is_answered_and_the_first_one_earns(knowledge: kb.Knowledge) -> None:
    can, bottle = Other("drink_can", 0.9, ("content_full",)), Other("gone_from_the_taxonomy", 0.9)
    vision = VisionResult("water_pet", 0.9, (), False, True, "test", others=(can, bottle))
    rule = stages.match(knowledge, vision, "라벨은 뗐어요")
    assert rule.item_id == "water_pet"
    (other,) = rule.others
    assert other.classification_result.classification.middle_category == "금속류"
    assert other.final_answer.disposal_steps
    assert other.stream
    assert other.stream.id == "metal_can"
    assert other.confidence == 0.9
