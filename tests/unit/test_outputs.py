"""The stored form of stage outputs: that of the releases before is read, that of the next one waits for it."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from eco2 import knowledge as kb
from eco2.scan import outputs
from eco2.scan.job import OUTPUTS, Job, job_of
from eco2.scan.outputs import Answer, NewerForm, Reward, Rule, Unreadable, VisionResult
from eco2.scan.result import done_event, result_body

STORED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("stored_jobs.json").read_text())
"""Jobs as they were stored when outputs were plain JSON, each with its result as it was answered then."""
BY_NAME = {job["name"]: job for job in STORED}
LATER_FIELDS: dict[str, tuple[str, ...]] = {
    "vision": ("situations", "evidence", "others", "category", "source", "phash", "digest"),
    "rule": ("waste", "chosen", "others", "shown", "material", "none_of_these"),
    "answer": ("source",),
    "reward": (),
}
"""Fields that the earliest releases did not store."""


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def loaded(stored: dict[str, Any], status: str = "completed") -> Job:
    """The job of a row of the database."""
    ids = (uuid.UUID(int=1), uuid.UUID(int=2))
    row = (*ids, "scan/x.jpg", stored["user_input"], None, status, *(stored[stage] for stage in OUTPUTS))
    return job_of((*row, None, None, stored["language"], None, True))


def of_the_stored(body: dict[str, Any]) -> bytes:
    """Fields of a result from the stored outputs alone: names of classes and streams may change with the data."""
    found = body["pipeline_result"]
    return orjson.dumps({**body, "pipeline_result": found and {**found, "classification_result": 0, "stream": 0}})


@pytest.mark.parametrize("stored", STORED, ids=list(BY_NAME))
def test_a_job_of_the_release_before_is_answered_as_before_byte_for_byte(
    knowledge: kb.Knowledge, stored: dict[str, Any]
) -> None:
    body = result_body(knowledge, loaded(stored))
    assert of_the_stored(body) == of_the_stored(stored["body"])
    now, then = body["pipeline_result"], stored["body"]["pipeline_result"]
    if then is not None:
        assert _names(now["classification_result"]) == _names(then["classification_result"])


def _names(value: dict[str, Any]) -> list[Any]:
    """Names of the fields, in order, with those of their parts."""
    return [(name, _names(part)) if isinstance(part, dict) else name for name, part in value.items()]


@pytest.mark.parametrize("stored", STORED, ids=list(BY_NAME))
def test_what_is_stored_is_read_again_by_this_release_and_the_one_before(stored: dict[str, Any]) -> None:
    for stage, kind in OUTPUTS.items():
        if stored[stage] is None:
            continue
        output = outputs.read(kind, stored[stage])
        written = outputs.dumps(output)
        assert outputs.loads(kind, written) == output
        document = orjson.loads(written)
        assert {**dict.fromkeys(stored[stage]), **document}.items() >= stored[stage].items(), "nothing is lost"
        added = {name for name in document if name not in stored[stage]}
        assert added <= {"none_of_these", "shown"}, "what an older release would meet as a null is left out"


@pytest.mark.parametrize("stored", STORED, ids=list(BY_NAME))
def test_jobs_of_the_first_releases_are_read(knowledge: kb.Knowledge, stored: dict[str, Any]) -> None:
    old = dict(stored)
    for stage, later in LATER_FIELDS.items():
        if old[stage] is not None:
            old[stage] = {name: value for name, value in old[stage].items() if name not in later}
    job = loaded(old)
    assert job.unread is None
    assert result_body(knowledge, job)["error"] is None or (job.rule and not job.rule.candidates)
    if job.rule is not None:
        assert (job.rule.waste, job.rule.shown, job.rule.others) == (True, True, ())


def test_a_job_of_a_newer_release_waits_and_is_not_called_failed() -> None:
    stored = {**STORED[0], "rule": {**STORED[0]["rule"], "form": outputs.FORM + 1}}
    job = loaded(stored)
    assert (job.rule, type(job.unread)) == (None, NewerForm)
    with pytest.raises(NewerForm):
        job.require_outputs()
    loaded(stored, "processing").require_outputs()
    loaded({**STORED[0], "rule": {**STORED[0]["rule"], "form": outputs.FORM}}).require_outputs()


@pytest.mark.parametrize("bad", [{"nonsense": True}, [], "text", {"item_id": "ceramic"}])
def test_a_document_that_nobody_wrote_hides_no_other_row(knowledge: kb.Knowledge, bad: Any) -> None:
    job = loaded({**STORED[0], "rule": bad})
    assert (job.rule, type(job.unread)) == (None, Unreadable)
    assert result_body(knowledge, job)["outcome"] == "failed"
    assert done_event(knowledge, job).terminal


def test_every_field_of_an_output_is_read() -> None:
    """A field with parts of its own that nobody converts would stay a dict."""
    rule = outputs.read(Rule, BY_NAME["rewarded-None"]["rule"])
    seen = outputs.read(VisionResult, BY_NAME["rewarded-None"]["vision"])
    reward = outputs.read(Reward, BY_NAME["rewarded-None"]["reward"])
    answer = outputs.read(Answer, BY_NAME["rewarded-None"]["answer"])
    for output in (rule, seen, reward, answer, outputs.read(Rule, BY_NAME["choice-None"]["rule"])):
        assert set(_plain_dicts(output, "")) <= {"disposal_rules", "disposal_steps"}, "documents, not outputs"


def _plain_dicts(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield name
    elif isinstance(value, tuple):
        for part in value:
            yield from _plain_dicts(part, name)
    elif hasattr(value, "__dataclass_fields__"):
        for field, part in vars(value).items():
            yield from _plain_dicts(part, field)
