from dataclasses import replace

import numpy as np
import pytest

from eco2.scan import outputs
from eco2.scan.outputs import Candidate, VisionResult
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import ANSWERED, INPUTS, MATERIALS, Head, Senses, believe
from eco2.scan.vision.embedded import AS_LOOK_ALIKE, Decision, decide
from eco2.scan.vision.look_alikes import HINTED, NOTED, LookAlikes

BOTTLE, CAN, SHOE, CAT, DOG, LOTION = 898, 455, 770, 281, 200, 631
ITEMS = {  # item: (label, share of the label, material, typical share of the material, where it goes, category)
    "water_pet": (BOTTLE, 0.8, "plastic", 0.5, "clear_pet", "무색페트병"),
    "tray": (None, 0, "plastic", 0.5, "plastic", "플라스틱류"),
    "drink_can": (CAN, 1.0, "metal", 0.5, "metal_can", "금속류"),
    "food_can": (None, 0, "metal", 0.5, "metal_can", "금속류"),
    "box": (None, 0, "cardboard", 1.0, "paper_cardboard", "종이"),
    "flyer": (None, 0, "paper", 1.0, "paper_mixed", "종이"),
    "jar": (None, 0, "glass", 1.0, "glass_bottle", "유리병"),
    "wrap": (None, 0, "trash", 1.0, "vinyl", "비닐류"),
    "shoes": (SHOE, 1.0, None, 0, "clothing_bin", "의류및원단"),
}
SURE, SURE_THING, MOST_NOTHING, WITNESSED = 0.8, 0.65, 0.6, 0.2
LOOK_ALIKES = {"carton": ("종이", LOTION, "carton"), "glass": ("플라스틱류", None, "glass_bottle")}


def senses(**head: float) -> Senses:
    """Every label without an item is an animal. The head says `head`, whatever the photo; the rest is none of them."""
    rest = max(1e-9, 1 - sum(head.values()))
    told = [*(head.get(material, 1e-9) for material in MATERIALS), rest]
    layer = np.zeros((INPUTS, len(told)), np.float32)
    shares, nothing = np.zeros((len(ITEMS), network.CLASSES), np.float32), np.ones(network.CLASSES, np.float32)
    for n, (label, share, *_) in enumerate(ITEMS.values()):
        if label is not None:
            shares[n, label], nothing[label] = share, 0
    alike = np.zeros((len(LOOK_ALIKES), network.CLASSES), np.float32)
    for n, (_, label, _) in enumerate(LOOK_ALIKES.values()):
        if label is not None:
            alike[n, label], nothing[label] = 1, 0
    categories = tuple(row[0] for row in LOOK_ALIKES.values())
    same = dict.fromkeys(ANSWERED, SURE)
    witnessed = {**dict.fromkeys(ANSWERED, 0.0), "금속류": WITNESSED}
    return Senses(
        item_ids=tuple(ITEMS),
        shares=shares,
        not_waste=nothing,
        material=np.array([MATERIALS.index(row[2]) if row[2] else len(MATERIALS) for row in ITEMS.values()]),
        typical=np.array([row[3] for row in ITEMS.values()], np.float32),
        places=tuple(row[4] for row in ITEMS.values()),
        categories=tuple(row[5] for row in ITEMS.values()),
        look_alikes=LookAlikes(categories, tuple(LOOK_ALIKES), alike, "test"),
        look_alike_places=tuple(row[2] for row in LOOK_ALIKES.values()),
        head=Head(layer, np.log(np.array(told, np.float32)), 1.0, same, witnessed, SURE_THING, MOST_NOTHING, "test"),
        version="test",
    )


def told(of: Senses, **labels: float) -> Decision:
    names = {"bottle": BOTTLE, "can": CAN, "shoe": SHOE, "cat": CAT, "dog": DOG, "lotion": LOTION}
    probabilities = np.zeros(network.CLASSES, np.float32)
    for name, share in labels.items():
        probabilities[names[name]] = share
    return decide(of, np.zeros(network.FEATURES + network.TEXTURES, np.float32), probabilities, "m")


def test_a_sure_material_whose_items_all_go_to_one_place_is_answered() -> None:
    found = told(senses(metal=0.9), can=0.3, cat=0.55)
    assert (found.category, found.material, found.abstained) == ("금속류", "metal", False)
    assert found.confidence == pytest.approx(0.9, abs=1e-3)
    assert (found.result.item_id, found.result.needs_choice, found.result.waste) == ("drink_can", False, True)
    assert found.result.confidence == pytest.approx(0.9, abs=1e-3), "which kind of can it is changes nothing"
    assert [one.item_id for one in found.result.candidates] == ["drink_can", "food_can"]


def test_a_sure_material_whose_items_part_ways_is_told_and_the_item_asked() -> None:
    found = told(senses(plastic=0.9), cat=0.5)
    assert (found.category, found.material) == ("플라스틱류", "plastic")
    assert (found.result.item_id, found.result.needs_choice) == (None, True)
    assert [one.item_id for one in found.result.candidates][:2] == ["water_pet", "tray"]


def test_a_question_names_what_is_taken_for_the_material_and_goes_elsewhere() -> None:
    last = told(senses(plastic=0.9), cat=0.5).result.candidates[-1]
    assert last == Candidate("glass", AS_LOOK_ALIKE)
    asked = told(senses(plastic=0.2), cat=0.5).result
    assert "glass" not in {one.item_id for one in asked.candidates}, "the photo may show anything"


@pytest.mark.parametrize(("can", "item"), [(WITNESSED + 0.01, "drink_can"), (WITNESSED - 0.01, None)])
def test_without_a_second_witness_a_sure_material_is_told_and_the_item_asked(can: float, item: str | None) -> None:
    found = told(senses(metal=0.95), can=can, cat=0.5)
    assert (found.category, found.result.item_id, found.result.needs_choice) == ("금속류", item, item is None)


@pytest.mark.parametrize(("mass", "first"), [(NOTED + 0.01, "jar"), (NOTED - 0.01, "bottle")])
def test_a_look_alike_that_is_hinted_at_is_named_before_the_usual_one(mass: float, first: str) -> None:
    alike = LookAlikes(("금속류", "금속류", "종이"), ("bottle", "jar", "carton"), np.zeros((3, 1), np.float32), "test")
    assert alike.ranked("금속류", [0, mass, 1])[0] == first


@pytest.mark.parametrize(("lotion", "category"), [(HINTED - 0.01, "종이"), (HINTED + 0.01, None)])
def test_a_hint_at_a_look_alike_is_asked_about(lotion: float, category: str | None) -> None:
    found = told(senses(cardboard=0.95), cat=0.5, lotion=lotion)
    assert found.category == category
    if category is None:
        assert found.result.needs_choice
        assert found.result.candidates[-1].item_id == "carton"


def test_the_labels_tell_which_item_of_a_material_it_is() -> None:
    found = told(senses(plastic=0.95), bottle=1)
    assert (found.category, found.material, found.result.item_id) == ("무색페트병", "plastic", "water_pet")


def test_a_category_may_be_sure_where_the_material_is_not() -> None:
    found = told(senses(cardboard=0.4, paper=0.5), cat=0.5)
    assert (found.category, found.material) == ("종이", "paper")
    assert found.result.item_id is None, "they go to two places"


@pytest.mark.parametrize(("share", "sure"), [(SURE + 0.01, True), (SURE - 0.01, False)])
def test_the_line_between_answer_and_question(share: float, sure: bool) -> None:
    found = told(senses(glass=share), cat=0.5)
    assert (found.abstained, found.result.needs_choice, found.result.item_id == "jar") == (not sure, not sure, sure)


def test_mixed_trash_is_asked_about_however_sure() -> None:
    found = told(senses(trash=0.99), cat=0.5)
    assert (found.category, found.result.item_id, found.result.needs_choice) == (None, None, True)
    assert found.result.candidates[0].item_id == "wrap"


@pytest.mark.parametrize(("share", "item"), [(SURE_THING + 0.02, "shoes"), (SURE_THING - 0.02, None)])
def test_a_thing_of_no_material_is_told_by_its_labels(share: float, item: str | None) -> None:
    found = told(senses(), shoe=share, cat=1 - share)
    assert (found.result.item_id, found.category) == (item, "의류및원단" if item else None)
    assert found.material is None


def test_labels_that_are_no_waste_add_up() -> None:
    found = told(senses(metal=0.05), cat=0.5, dog=0.4, shoe=0.1)
    assert (found.result.item_id, found.result.needs_choice, found.result.waste) == (None, True, False)
    assert found.result.confidence == pytest.approx(0.95 * 0.9, abs=1e-3)
    assert found.abstained


@pytest.mark.parametrize(("animal", "category"), [(MOST_NOTHING - 0.01, "금속류"), (MOST_NOTHING + 0.01, None)])
def test_where_the_labels_see_an_animal_a_sure_head_is_not_believed(animal: float, category: str | None) -> None:
    found = told(senses(metal=0.95), cat=animal, can=0.3)
    assert (found.category, found.result.item_id is None) == (category, category is None)
    assert found.result.waste, "it is asked, not told that there is nothing"


def test_probabilities_add_up_to_at_most_one() -> None:
    of = senses(metal=0.3, paper=0.2)
    labels = np.full(network.CLASSES, 1 / network.CLASSES, np.float32)
    found = believe(of, np.zeros(network.FEATURES + network.TEXTURES, np.float32), labels)
    assert float(found.items.sum()) + found.nothing <= 1.0001
    assert found.items.min() >= 0


def test_the_head_is_fed_the_features_and_the_label_masses() -> None:
    of = senses()
    seen = network.FEATURES + network.TEXTURES
    features, labels = np.arange(seen, dtype=np.float32), np.zeros(network.CLASSES, np.float32)
    labels[CAN], labels[CAT] = 0.25, 0.75
    inputs = of.inputs(features, labels)
    assert inputs[:seen].tolist() == features.tolist()
    masses = np.exp(inputs[seen:]) - 1e-4
    assert masses == pytest.approx([0, 0, 0.25, 0, 0, 0, 0, 0.75], abs=1e-5)


def test_calibration_makes_the_head_less_sure() -> None:
    of = senses(metal=0.9)
    cooler = replace(of, head=replace(of.head, temperature=2.0))
    assert told(cooler, cat=0.5).confidence < told(of, cat=0.5).confidence


def test_results_survive_json() -> None:
    result = told(senses(metal=0.9), can=1).result
    assert outputs.loads(VisionResult, outputs.dumps(result)) == result
