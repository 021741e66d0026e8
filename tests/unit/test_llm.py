import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import orjson
import pytest
from pydantic import BaseModel, ValidationError

from eco2 import knowledge as kb
from eco2.knowledge.grounding import Selection
from eco2.llm import calls, wire
from eco2.llm.pace import LONGEST_PAUSE_SECONDS, RELIEF_SECONDS, Pace
from eco2.llm.settings import DEFAULT_PRICES, OPENAI_URL, LlmSettings, Price
from eco2.llm.wire import LlmFailed
from eco2.local.emulators.llm import strict_problems
from eco2.scan import outputs
from eco2.scan.outputs import Candidate, Other, VisionResult
from eco2.scan.vision.llm import NONE, UNSURE, Prompts, Thing, Vision, to_result

GEMINI = {"base_url": "https://gemini.example/v1", "api_key": "g", "models": ["gemini-*"]}


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


@pytest.fixture(scope="module")
def prompts(knowledge: kb.Knowledge) -> Prompts:
    return Prompts.of(knowledge)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_without_a_key_there_is_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LlmSettings().endpoints() == {}
    monkeypatch.setenv("ECO2_LLM_API_KEY", "")
    assert LlmSettings().endpoints() == {}


def test_providers_are_read_from_the_environment_and_asked_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO2_LLM_PROVIDERS", orjson.dumps({"gemini": GEMINI}).decode())
    monkeypatch.setenv("ECO2_LLM_API_KEY", "k")
    monkeypatch.setenv("ECO2_LLM_PRICES", '{"gpt-5": [1, 2]}')
    monkeypatch.setenv("ECO2_LLM_TIMEOUT", "PT7S")
    settings = LlmSettings()
    assert list(settings.endpoints()) == ["gemini", "default"]
    assert settings.endpoints()["gemini"].models == ("gemini-*",)
    assert (settings.price("gpt-5"), settings.llm_timeout) == (Price(1, 2), timedelta(seconds=7))


@pytest.mark.parametrize(
    ("url", "models", "served"),
    [(OPENAI_URL, (), ("gpt-*",)), ("http://127.0.0.1:8001/v1", (), ("*",)), (OPENAI_URL, ("o4",), ("o4",))],
)
def test_openai_gets_its_own_models_and_any_other_server_all(url: str, models: Any, served: Any) -> None:
    settings = LlmSettings(llm_api_key="k", llm_base_url=url, llm_models=models)
    assert settings.endpoints()["default"].models == served


def test_a_model_without_a_price_counts_as_the_dearest() -> None:
    assert LlmSettings().price("unheard-of") == DEFAULT_PRICES["gpt-5.2-pro"]


# --- retries and pace -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": format_datetime(datetime(2001, 1, 1, tzinfo=UTC), usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert wire.retry_after(httpx2.Headers(headers)) == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    later = format_datetime(datetime.fromtimestamp(time.time() + 30, UTC), usegmt=True)
    assert wire.retry_after(httpx2.Headers({"retry-after": later})) == pytest.approx(30, abs=2)


def test_backoff_doubles_with_jitter_and_obeys_the_provider() -> None:
    for attempt, longest in ((1, 0.5), (2, 1), (3, 2), (9, 8)):
        waits = {calls._backoff(attempt, None) for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert 5 <= calls._backoff(1, 5) <= 5.1


def test_the_bucket_lets_a_second_through_at_once_and_then_keeps_the_rate() -> None:
    pace, now = Pace(600, 60), 1000.0
    starts = [pace.take(now, now + 60) - now for _ in range(30)]
    assert sum(start < 1e-6 for start in starts) == 10
    assert starts[-1] == pytest.approx(2.0)
    assert sum(pace.take(now + 100, now + 160) < now + 100 + 1e-6 for _ in range(30)) == 10, "no more is saved up"


def test_without_a_configured_rate_every_call_begins_at_once() -> None:
    pace, now = Pace(None, 45), 1000.0
    assert {pace.take(now, now) for _ in range(10_000)} == {now}
    assert pace.rate(now) is None


def test_a_pause_holds_back_everybody_and_spaces_them_afterwards() -> None:
    pace, now = Pace(600, 60), 1000.0
    pace.pause(now, 5)
    assert [pace.take(now, now + 60) - now for _ in range(3)] == pytest.approx([5, 5.1, 5.2])


def test_a_turn_too_late_fails_at_once_and_takes_none() -> None:
    pace, now = Pace(60, 60), 1000.0
    pace.pause(now, 30)
    for _ in range(5):
        with pytest.raises(LlmFailed, match="rate_limited"):
            pace.take(now, now + 10)
    assert pace.take(now, now + 60) == now + 30


def test_nobody_waits_for_a_pause_longer_than_a_call_may_take_and_the_provider_is_asked_again() -> None:
    pace, now = Pace(None, 45), 1000.0
    pace.refused(now, now - 1, 86_400, None)
    for later in (0, LONGEST_PAUSE_SECONDS - 0.1):
        with pytest.raises(LlmFailed, match="rate_limited"):
            pace.take(now + later, now + 10_000)
        assert pace.paused(now + later) == 0, "the queue does not wait either"
    assert pace.take(now + LONGEST_PAUSE_SECONDS, now + 10_000) <= now + LONGEST_PAUSE_SECONDS


def _busy(pace: Pace, until: float, per_second: int) -> None:
    """Ten seconds of calls that go through."""
    for number in range(10 * per_second):
        at = until - 10 + number / per_second
        pace.take(at, at)
        pace.succeeded(at, None)


def test_a_refusal_brings_a_rate_below_what_went_through_once_for_all_calls_that_were_under_way() -> None:
    pace, now = Pace(None, 45), 1000.0
    _busy(pace, now, 50)
    for _ in range(20):
        pace.refused(now, now - 3, 0.1, None)
    assert pace.rate(now) == pytest.approx(0.7 * 50, rel=0.15)
    starts = [pace.take(now, now + 60) - now for _ in range(100)]
    assert starts[0] == pytest.approx(0.1)
    assert starts[-1] == pytest.approx(100 / 35, rel=0.2)


def test_a_rate_grows_while_nothing_is_refused_and_is_forgotten_after_a_while() -> None:
    pace, now = Pace(None, 45), 1000.0
    _busy(pace, now, 50)
    pace.refused(now, now - 1, 0.1, None)
    rates = [pace.rate(now + second) or 0.0 for second in range(int(RELIEF_SECONDS))]
    assert rates == sorted(rates)
    assert 2 < rates[-1] / rates[0] < 6
    pace.refused(now + 20, now + 19, 0.1, None)
    assert (pace.rate(now + 21) or 0) < rates[20]
    assert pace.rate(now + 20 + RELIEF_SECONDS + 1) is None


@pytest.mark.parametrize("allowed", [8.3, 30.0])
def test_at_a_hard_limit_most_of_it_is_used_and_few_calls_are_refused(allowed: float) -> None:
    """A provider with a bucket of a second's worth, asked by many who wait for their turns."""
    pace, now, bucket, at = Pace(None, 45), 1000.0, allowed, 1000.0
    done, refused = 0, 0
    while now < 1120:
        start = max(now, pace.take(now, now + 60))
        bucket, at = min(allowed, bucket + (start - at) * allowed), start
        if bucket >= 1:
            bucket, done = bucket - 1, done + 1
            pace.succeeded(start, None)
        else:
            refused += 1
            pace.refused(start, start, (1 - bucket) / allowed, None)
        now = max(start, now + 0.001)
    assert done / 120 > 0.7 * allowed
    assert refused < 0.1 * done


def test_a_limit_that_the_provider_tells_is_kept_to_the_letter() -> None:
    pace, now = Pace(None, 45), 1000.0
    pace.succeeded(now, wire.used_up({"x-ratelimit-remaining-requests": "7"}))
    assert pace.rate(now) is None
    told = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-reset-requests": "1m0s",
    }
    pace.succeeded(now, wire.used_up(told))
    assert pace.rate(now) == pytest.approx(500 / 60)
    starts = [pace.take(now, now + 60) - now for _ in range(10)]
    assert starts == pytest.approx([0.12 * (number + 1) for number in range(10)])


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1.5s", 1.5), ("2", 2), ("1d2h", 93_600), ("soon", None), ("", None)],
)
def test_spans_of_time_are_read(span: str, seconds: float | None) -> None:
    assert wire.seconds_of(span) == seconds


def test_tokens_that_are_used_up_are_waited_for() -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1.5s"}
    assert wire.retry_after(headers) == 1.5
    assert wire.retry_after({**headers, "x-ratelimit-remaining-tokens": "9"}) is None
    assert wire.retry_after({**headers, "retry-after": "3"}) == 3


@pytest.mark.parametrize(("said", "budget"), [("none", None), ("5", 5), (None, 20)])
def test_the_budget_of_a_day_is_20_usd_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, said: str | None, budget: float | None
) -> None:
    if said is not None:
        monkeypatch.setenv("ECO2_LLM_DAILY_BUDGET_USD", said)
    assert LlmSettings().llm_daily_budget_usd == budget
    assert (LlmSettings().llm_concurrency, LlmSettings().llm_requests_per_minute) == (256, None)


# --- prompts and schemas ----------------------------------------------------------------------------------------------


def _rendered(fragment: orjson.Fragment) -> Any:
    return orjson.loads(orjson.dumps(fragment))


def test_the_prompt_names_every_item_by_stream(prompts: Prompts, knowledge: kb.Knowledge) -> None:
    text = _rendered(prompts.vision)["content"]
    lines = text.splitlines()
    for item in knowledge.items.values():
        assert f"{item.id} {item.ko}" in lines
    pet = lines.index("water_pet " + knowledge.items["water_pet"].ko)
    title = next(line for line in reversed(lines[:pet]) if line.startswith("# "))
    assert knowledge.stream(knowledge.items["water_pet"].stream).ko in title


def test_schemas_are_closed_strict_and_rendered_once(prompts: Prompts, knowledge: kb.Knowledge) -> None:
    form = wire.response_format(prompts.schema)
    assert wire.response_format(prompts.schema) is form
    rendered = _rendered(form)["json_schema"]
    assert rendered["strict"] is True
    assert list(strict_problems(rendered["schema"])) == []
    assert list(strict_problems(_rendered(wire.response_format(Selection))["json_schema"]["schema"])) == []
    lists = rendered["schema"]["$defs"]
    assert set(lists["Item"]["enum"]) == {*knowledge.items, NONE, UNSURE}
    assert next(iter(rendered["schema"]["properties"])) == "evidence", "read before it is concluded from"
    situations = lists["Situation"]["enum"]
    assert set(situations) < set(knowledge.situations)
    assert not {"blurry", "not_waste", "holiday"} & set(situations)


class Loose(BaseModel):
    name: str = ""


def test_a_schema_that_is_not_strict_is_found() -> None:
    assert len(list(strict_problems(Loose.model_json_schema()))) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"item": "no_such_item"},
        {"candidates": [{"item": "unsure", "confidence": 0.5}]},
        {"others": [{"item": "none", "confidence": 0.9, "situations": []}]},
        {"others": [{"item": "no_such_item", "confidence": 0.9, "situations": []}]},
        {"others": [{"item": "drink_can", "confidence": 0.9, "situations": ["holiday"]}]},
        {"evidence": ["PP"] * 9},
        {"candidates": [{"item": "water_pet", "confidence": 0.2}] * 4},
        {"situations": ["holiday"]},
        {"confidence": 1.2},
        {"surprise": 1},
    ],
)
def test_a_reply_outside_of_the_lists_is_refused(prompts: Prompts, wrong: dict[str, Any]) -> None:
    right = {"waste": True, "item": "water_pet", "confidence": 0.9, "candidates": [], "situations": ["label_on"]}
    right |= {"evidence": ["무색페트"], "others": [{"item": "drink_can", "confidence": 0.9, "situations": []}]}
    prompts.schema.model_validate(right)
    with pytest.raises(ValidationError):
        prompts.schema.model_validate({**right, **wrong})


# --- from a reply to a result -----------------------------------------------------------------------------------------


def _seen(item: str, confidence: float, waste: bool = True, **candidates: float) -> Vision:
    guesses: list[Any] = [{"item": name, "confidence": share} for name, share in candidates.items()]
    return Vision(
        evidence=["PET"],
        waste=waste,
        item=item,
        confidence=confidence,
        candidates=guesses,
        situations=["label_on"],
        others=[],
    )


def test_a_confident_item_is_answered() -> None:
    result = to_result(_seen("water_pet", 0.9, tumbler=0.05, water_pet=0.7), "m")
    assert (result.item_id, result.confidence, result.needs_choice) == ("water_pet", 0.9, False)
    assert result.candidates == (Candidate("water_pet", 0.9), Candidate("tumbler", 0.05))
    assert (result.situations, result.model, result.waste) == (("label_on",), "m", True)


@pytest.mark.parametrize(
    "seen",
    [
        _seen(UNSURE, 0.9, water_pet=0.5, tumbler=0.3),
        _seen(NONE, 0.9, water_pet=0.5, tumbler=0.3),
        _seen("water_pet", 0.5, tumbler=0.3),
        _seen("tumbler", 0.3, water_pet=0.5),
    ],
)
def test_a_model_that_is_not_sure_leads_to_a_question(seen: Vision) -> None:
    result = to_result(seen, "m")
    assert (result.item_id, result.needs_choice, result.confidence) == (None, True, 0.5)
    assert result.candidates == (Candidate("water_pet", 0.5), Candidate("tumbler", 0.3))


def test_a_model_that_contradicts_itself_leads_to_a_question() -> None:
    assert to_result(_seen("water_pet", 0.7, tumbler=0.9), "m").needs_choice


def test_what_is_no_waste_has_no_candidates() -> None:
    result = to_result(_seen(NONE, 0.97, waste=False, water_pet=0.3), "m")
    assert (result.waste, result.item_id, result.confidence, result.candidates) == (False, None, 0.97, ())


def test_candidates_are_at_most_three_and_none_is_noise() -> None:
    result = to_result(_seen("a", 0.4, b=0.3, c=0.2, d=0.1), "m")
    assert [candidate.item_id for candidate in result.candidates] == ["a", "b", "c"]
    assert to_result(_seen(UNSURE, 0.9, a=0.001), "m").candidates == ()


def _thing(item: str, confidence: float = 0.9, *situations: str) -> Thing:
    return Thing(item=item, confidence=confidence, situations=list(situations))


def test_every_other_object_that_is_sure_is_told_once() -> None:
    seen = _seen("water_pet", 0.9)
    seen.others = [_thing("can", 0.9, "crushed"), _thing("jar", 0.3), _thing("water_pet"), _thing("can", 0.7)]
    result = to_result(seen, "m")
    assert result.others == (Other("can", 0.9, ("crushed",)),)
    assert result.evidence == ("PET",)
    assert outputs.loads(VisionResult, outputs.dumps(result)) == result


def test_where_there_is_no_waste_there_are_no_others() -> None:
    seen = _seen(NONE, 0.9, waste=False)
    seen.others = [_thing("can")]
    assert to_result(seen, "m").others == ()
