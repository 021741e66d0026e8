"""Report about a job for an operator."""

import uuid
from collections.abc import Callable
from pathlib import Path

from eco2.scan.inspection import InspectSettings, show
from tests.conftest import FromStack, Person
from tests.e2e import journey

DEMO = (Path(__file__).parents[2] / "data/demo/coffee.jpg").read_bytes()


async def test_a_job_is_shown_with_its_stages_events_and_trace(
    settings: FromStack, person: Callable[[], Person]
) -> None:
    who = person()
    job = await journey.submit(who, await journey.upload(who, DEMO), user_input="비밀 이야기")
    frames = await journey.frames(who, job["stream_url"])
    found = await show(settings(InspectSettings), uuid.UUID(job["job_id"]))
    assert found is not None
    assert found["job"]["status"] == "completed"
    assert found["job"]["stored"] == ["vision", "rule", "answer"]
    assert set(found["job"]["sources"]) == {"vision", "answer"}
    assert found["job"]["seconds"] > 0
    assert [event["seq"] for event in found["events"]] == list(range(1, len(frames) + 1))
    assert [row["stage"] for row in found["stages"]] == ["queued", "vision", "rule", "answer", "reward"]
    assert all(row["ms"] >= 0 for row in found["stages"])
    assert found["trace_id"] == frames[0]["trace_id"]
    assert "비밀" not in str(found)


async def test_an_unknown_job_is_none(settings: FromStack) -> None:
    assert await show(settings(InspectSettings), uuid.uuid4()) is None
