"""The result as it is answered: its three outcomes, and what stands in the steps where the user has to choose."""

import re
import uuid
from dataclasses import replace
from typing import Any, cast

import pytest

from eco2 import knowledge as kb
from eco2.core.errors import AppError
from eco2.knowledge.composing import MAX_STEPS
from eco2.photos import PhotoBroken, PhotoTooLarge, PhotoTypeRefused
from eco2.scan import candidates, choice, errors, stages
from eco2.scan.audience import Audience
from eco2.scan.failures import GivenUp, TooLate
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, Candidate, Other, VisionResult
from eco2.scan.result import done_event, result_body

ENGLISH = Audience("en", None)
NOWHERE: dict[str, Any] = {"pipeline_result": None, "reward": None, "needs_choice": False, "candidates": []}


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def job(**known: Any) -> Job:
    empty: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**{**empty, "id": uuid.UUID(int=1), "status": "completed", **known})


def seen(item_id: str | None, *candidates: str, waste: bool = True) -> VisionResult:
    found = tuple(Candidate(candidate, 0.3) for candidate in candidates)
    return VisionResult(item_id, 0.9, found, needs_choice=item_id is None, waste=waste, model="test")


def scanned(
    knowledge: kb.Knowledge, vision: VisionResult, words: str | None = None, audience: Audience | None = None
) -> Job:
    audience = audience or Audience()
    rule = stages.match(knowledge, vision, words, audience)
    answer = stages.answer(knowledge, rule, words, audience)
    return job(
        vision=vision, rule=rule, answer=Answer.of(answer, "rules"), reward=stages.reward(knowledge, rule, answer)
    )


def test_a_known_thing_is_answered(knowledge: kb.Knowledge) -> None:
    body = result_body(knowledge, scanned(knowledge, seen("milk_carton")))
    assert (body["status"], body["outcome"], body["error"], body["code"]) == ("completed", "answered", None, None)
    assert body["pipeline_result"]["stream"]["id"] == "paper_carton"


def test_the_event_of_the_end_has_all_but_the_texts_of_the_rules(knowledge: kb.Knowledge) -> None:
    """A client that reads nothing else shows the same."""
    done = scanned(knowledge, replace(seen("milk_carton"), others=(Other("water_pet", 0.9),)))
    body = result_body(knowledge, done)
    assert body["pipeline_result"].pop("disposal_rules")
    assert [thing.pop("disposal_rules") for thing in body["pipeline_result"]["others"]] != []
    told = cast(dict[str, Any], done_event(knowledge, done).result)
    assert told["pipeline_result"].pop("disposal_rules") is None
    assert [thing.pop("disposal_rules") for thing in told["pipeline_result"]["others"]] == [None]
    assert told == body


@pytest.mark.parametrize("error", [PhotoTooLarge, PhotoTypeRefused, PhotoBroken, errors.ImageGone, TooLate, GivenUp])
def test_a_failed_scan_is_over_and_says_why(knowledge: kb.Knowledge, error: type[AppError]) -> None:
    reason = error()
    body = result_body(knowledge, job(status="failed", error=reason.message, error_code=reason.code))
    said = {"status": "completed", "outcome": "failed", "error": reason.message, "code": reason.code}
    assert body == {**NOWHERE, **said, "task_id": str(uuid.UUID(int=1)), "message": None}
    assert re.search("[가-힣]", reason.message)
    assert not re.search("[가-힣]", reason.english), "who reads English has it in English"


def test_a_failure_from_before_codes_were_kept_has_one(knowledge: kb.Knowledge) -> None:
    body = result_body(knowledge, job(status="failed", error="안 됐어요."))
    assert (body["error"], body["code"]) == ("안 됐어요.", "SCAN_FAILED")


@pytest.mark.parametrize("audience", [Audience(), ENGLISH])
@pytest.mark.parametrize(("waste", "code"), [(True, "NOT_RECOGNIZED"), (False, "NO_WASTE")])
def test_nothing_worth_a_guess_is_unsure_and_shows_no_class(
    knowledge: kb.Knowledge, waste: bool, code: str, audience: Audience
) -> None:
    body = result_body(knowledge, scanned(knowledge, seen(None, waste=waste), None, audience))
    assert (body["status"], body["outcome"], body["code"]) == ("completed", "unsure", code)
    assert NOWHERE.items() <= body.items()
    assert body["error"]
    assert bool(re.search("[가-힣]", body["error"])) is (audience.lang == "ko")


@pytest.mark.parametrize("words", [None, "페트병", "이거 뭐예요", "우유팩이랑 신문지요"])
@pytest.mark.parametrize("audience", [Audience(), ENGLISH])
def test_where_there_are_candidates_the_steps_hold_back_and_tell_each_ones_way(
    knowledge: kb.Knowledge, words: str | None, audience: Audience
) -> None:
    vision = seen(None, "button_cell", "drink_can", "liquid_medicine")
    body = result_body(knowledge, scanned(knowledge, vision, words, audience))
    assert (body["outcome"], body["needs_choice"], body["reward"]) == ("answered", True, None)
    first, *others = body["pipeline_result"]["final_answer"]["disposal_steps"].values()
    assert first.startswith("아직 버리지 마세요" if audience.lang == "ko" else "Do not throw it away yet")
    for candidate, step in zip(body["candidates"], others, strict=False):
        item = knowledge.resolve(candidate["minor_category"])
        assert item is not None
        stream = knowledge.stream(item.stream)
        name, where = (item.ko, stream.ko) if audience.lang == "ko" else (item.en, stream.en)
        assert name in step
        assert where in step


def test_all_candidates_find_room_in_the_steps(knowledge: kb.Knowledge) -> None:
    words = ", ".join(knowledge.item(name).ko for name in list(knowledge.items)[:40:2]) + ". 배터리가 부풀었고 뜨거워요"
    body = result_body(knowledge, scanned(knowledge, seen(None, "button_cell", "drink_can"), words))
    steps = body["pipeline_result"]["final_answer"]["disposal_steps"]
    assert len(steps) <= MAX_STEPS
    assert 1 < len(body["candidates"]) <= candidates.MAX_CANDIDATES
    for candidate in body["candidates"]:
        assert any(candidate["minor_category"] in step for step in steps.values())


@pytest.mark.parametrize("candidates", [(), ("button_cell", "rechargeable_cell")])
def test_what_is_dangerous_is_said_though_the_thing_is_not_known(
    knowledge: kb.Knowledge, candidates: tuple[str, ...]
) -> None:
    situation = knowledge.situations["battery_swollen"]
    scan = scanned(knowledge, replace(seen(None, *candidates), situations=("battery_swollen",)))
    body = result_body(knowledge, scan)
    if candidates:
        assert situation.step_ko in body["pipeline_result"]["final_answer"]["disposal_steps"].values()
    else:
        assert body["error"].startswith(situation.step_ko)


def test_none_of_these_is_unsure(knowledge: kb.Knowledge) -> None:
    asked = scanned(knowledge, seen(None, "ceramic"))
    assert asked.rule is not None
    rule = choice.none_of_these(asked.rule)
    refused = replace(asked, rule=rule, answer=Answer.of(stages.answer(knowledge, rule, None)))
    body = result_body(knowledge, refused)
    assert (body["outcome"], body["code"]) == ("unsure", "NOT_RECOGNIZED")
    assert NOWHERE.items() <= body.items()
    assert knowledge.item("ceramic").ko not in body["error"]
