"""The paid path of the evaluation, against the emulated model."""

import pytest

from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack
from eco2.recycling.evaluation import Settings, grade, main
from tests.conftest import PAID_MODEL


async def test_what_a_model_words_is_graded_as_users_get_it(stack: Stack, environment: dict[str, str]) -> None:
    settings = Settings(
        llm_api_key="emulated",
        llm_base_url=llm_emulator.base_url(stack.layout),
        llm_default_model=PAID_MODEL,
        redis_cache_url=environment["ECO2_REDIS_CACHE_URL"],
    )
    scores, worded = await grade(settings, 12)
    assert len(scores) == 12
    assert worded > 0, "the model was asked, and its wording is what is graded"
    assert not any("dangerous" in score.faults for score in scores)


def test_without_a_key_it_is_skipped_and_without_a_counter_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ECO2_LLM_API_KEY", "ECO2_REDIS_CACHE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main([]) == 0
    assert "not graded" in capsys.readouterr().out
    monkeypatch.setenv("ECO2_LLM_API_KEY", "key")
    assert main([]) == 1
    assert "ECO2_REDIS_CACHE_URL" in capsys.readouterr().err
