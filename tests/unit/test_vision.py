import json

import numpy as np
import pytest

from eco2.scan import model, vision
from eco2.scan.seen import Candidate, VisionResult
from eco2.scan.vision import LabelTable, check_table, decide

BOTTLE, CAN, CAT = 898, 455, 281


@pytest.fixture
def table() -> LabelTable:
    """Label BOTTLE: 80 % water bottle, 10 % tumbler; CAN: all can; every other label is an animal."""
    shares = np.zeros((4, model.CLASSES), np.float32)
    shares[0, BOTTLE], shares[1, BOTTLE], shares[2, CAN], shares[3, CAN - 1] = 0.8, 0.1, 1, 1
    not_waste = np.ones(model.CLASSES, np.float32)
    not_waste[[BOTTLE, CAN, CAN - 1]] = 0
    return LabelTable(("water_pet", "tumbler", "can", "lid"), shares, not_waste, "test")


def labels(**shares: float) -> vision.Floats:
    out = np.zeros(model.CLASSES, np.float32)
    for name, share in shares.items():
        out[{"bottle": BOTTLE, "can": CAN, "lid": CAN - 1, "cat": CAT, "dog": 200}[name]] = share
    return out


def test_a_sure_label_with_one_meaning_is_answered(table: LabelTable) -> None:
    result = decide(labels(bottle=0.95, cat=0.05), table, "m")
    assert result == VisionResult(
        item_id="water_pet",
        confidence=0.76,
        candidates=(Candidate("water_pet", 0.76), Candidate("tumbler", 0.095)),
        needs_choice=False,
        waste=True,
        model="m",
    )


def test_an_unsure_photo_asks_with_the_best_three(table: LabelTable) -> None:
    result = decide(labels(bottle=0.4, can=0.3, lid=0.2, cat=0.1), table, "m")
    assert (result.item_id, result.needs_choice, result.waste) == (None, True, True)
    assert [one.item_id for one in result.candidates] == ["water_pet", "can", "lid"]


@pytest.mark.parametrize(("share", "item_id"), [(vision.CONFIDENT + 0.01, "can"), (vision.CONFIDENT - 0.01, None)])
def test_the_line_between_answer_and_question(table: LabelTable, share: float, item_id: str | None) -> None:
    assert decide(labels(can=share), table, "m").item_id == item_id


def test_labels_that_are_no_waste_add_up(table: LabelTable) -> None:
    result = decide(labels(cat=0.5, dog=0.4, can=0.1), table, "m")
    assert (result.item_id, result.needs_choice, result.waste, result.confidence) == (None, True, False, 0.9)
    assert [one.item_id for one in result.candidates] == ["can"]


def test_results_survive_json(table: LabelTable) -> None:
    result = decide(labels(bottle=0.95, can=0.05), table, "m")
    assert VisionResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_items_that_the_taxonomy_lacks_are_listed(table: LabelTable) -> None:
    assert check_table(table, {"water_pet", "can", "lid", "more"}) == ["tumbler"]
