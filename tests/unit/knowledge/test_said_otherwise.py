"""Emergencies, questions about the system and lists keep their meaning in other words than the data was made with."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.knowledge import Knowledge, ask, load


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("said_otherwise.yaml").read_text("utf-8"))
    return content


def test_an_emergency_is_one_in_other_words(knowledge: Knowledge, said: dict[str, Any]) -> None:
    missed = [question for question in said["emergencies"] if "emergency" not in ask(knowledge, question)]
    assert missed == []


def test_the_words_of_emergencies_make_none_of_harmless_things(knowledge: Knowledge, said: dict[str, Any]) -> None:
    alarmed = [question for question in said["harmless"] if "emergency" in ask(knowledge, question)]
    assert alarmed == []


def test_a_question_about_the_system_is_one_in_other_words(knowledge: Knowledge, said: dict[str, Any]) -> None:
    missed = [
        (topic, question)
        for topic, questions in said["topics"].items()
        for question in questions
        if topic not in [one["id"] for one in ask(knowledge, question).get("topics", ())]
    ]
    assert missed == []


def test_each_thing_of_a_list_gets_one_answer(knowledge: Knowledge, said: dict[str, Any]) -> None:
    answered = {question: [one["stream"] for one in ask(knowledge, question)["items"]] for question in said["things"]}
    assert {question: streams for question, streams in answered.items() if streams != said["things"][question]} == {}
