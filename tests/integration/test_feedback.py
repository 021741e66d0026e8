"""Feedback through the gateway, its export, and what stewards see of it."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from eco2 import knowledge
from eco2.cli.main import app
from eco2.contracts.pb import user_data_pb2 as pb
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc
from eco2.scan import stages
from eco2.scan.outputs import Answer, Candidate, VisionResult, dumps
from eco2.scan.tables import feedback, jobs
from tests.conftest import Person
from tests.e2e.journey import is_error

People = Callable[[], Person]
BASE = knowledge.load()
BOTTLE, CARTON = BASE.item("water_pet"), BASE.item("milk_carton")


async def scanned(engine: AsyncEngine, user: uuid.UUID, item_id: str | None = "water_pet", **change: Any) -> uuid.UUID:
    """A completed scan, as the stages leave it."""
    seen = VisionResult(item_id, 0.8, (Candidate("water_pet", 0.8),), item_id is None, True, "test-eyes")
    seen = replace(seen, digest="0" * 64, phash="0" * 64, source="model")
    rule = stages.match(BASE, seen, None)
    outputs = {"vision": seen, "rule": rule, "answer": Answer.of(stages.answer(BASE, rule, None))}
    row = {
        "id": uuid.uuid4(),
        "user_id": user,
        "image_key": f"scan/{uuid.uuid4().hex}.jpg",
        "user_input": "우리 집 주소는",
        "status": "completed",
        **{stage: orjson.loads(dumps(output)) for stage, output in outputs.items()},
        **change,
    }
    async with engine.begin() as tx:
        await tx.execute(insert(jobs).values(row))
    return uuid.UUID(str(row["id"]))


def path(job: uuid.UUID) -> str:
    return f"/api/v1/scan/{job}/feedback"


async def said(who: Person, job: uuid.UUID, verdict: str, **body: str) -> dict[str, Any]:
    answer = await who.http.post(path(job), json={"verdict": verdict, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_feedback_is_kept_and_can_be_changed(engine: AsyncEngine, person: People) -> None:
    who = person()
    job = await scanned(engine, who.id)
    assert is_error(await who.http.get(path(job)), 404, "FEEDBACK_NOT_FOUND")
    first = await said(who, job, "wrong", minor_category="우유팩", comment="안쪽이 은색이에요")
    assert (first["verdict"], first["minor_category"], first["comment"]) == ("wrong", CARTON.ko, "안쪽이 은색이에요")
    second = await said(who, job, "right")
    assert (second["verdict"], second["minor_category"], second["comment"]) == ("right", None, None)
    assert (await who.http.get(path(job))).json() == second
    async with engine.connect() as tx:
        row = (await tx.execute(select(feedback).where(feedback.c.job_id == job))).mappings().one()
    assert (row["item_id"], row["model"], row["user_id"]) == ("water_pet", "test-eyes", who.id)
    assert row["updated_at"] > row["created_at"]


async def test_two_clicks_at_once_are_one_feedback(engine: AsyncEngine, person: People) -> None:
    who = person()
    job = await scanned(engine, who.id)
    await asyncio.gather(*(said(who, job, verdict) for verdict in ("right", "wrong") * 5))
    async with engine.connect() as tx:
        assert len((await tx.execute(select(feedback).where(feedback.c.job_id == job))).all()) == 1


async def test_a_scan_of_somebody_else_is_not_there(engine: AsyncEngine, person: People) -> None:
    job = await scanned(engine, person().id)
    stranger = person()
    for answer in (
        await stranger.http.post(path(job), json={"verdict": "wrong"}),
        await stranger.http.get(path(job)),
        await stranger.http.post(path(uuid.uuid4()), json={"verdict": "wrong"}),
    ):
        assert is_error(answer, 404, "RESULT_NOT_FOUND")
    async with engine.connect() as tx:
        assert (await tx.execute(select(feedback).where(feedback.c.job_id == job))).all() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "VALIDATION_ERROR"),
        ({"verdict": "perhaps"}, 422, "VALIDATION_ERROR"),
        ({"verdict": "wrong", "comment": "x" * 501}, 422, "VALIDATION_ERROR"),
        ({"verdict": "wrong", "comment": "\0"}, 422, "VALIDATION_ERROR"),
        ({"verdict": "wrong", "minor_category": "외계인"}, 400, "UNKNOWN_CATEGORY"),
        ({"verdict": "wrong", "minor_category": BOTTLE.ko}, 400, "FEEDBACK_CONTRADICTS_ITSELF"),
        ({"verdict": "right", "minor_category": "우유팩"}, 400, "FEEDBACK_CONTRADICTS_ITSELF"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    engine: AsyncEngine, person: People, body: dict[str, str], status: int, code: str
) -> None:
    who = person()
    job = await scanned(engine, who.id)
    assert is_error(await who.http.post(path(job), json=body), status, code)


async def test_only_a_result_can_be_judged(engine: AsyncEngine, person: People) -> None:
    who = person()
    empty = {"answer": None, "rule": None}
    for change in ({"status": "processing", **empty}, {"status": "failed", "error": "x", **empty}):
        job = await scanned(engine, who.id, **change)
        assert is_error(await who.http.post(path(job), json={"verdict": "right"}), 409, "NOTHING_TO_JUDGE")
    asking = await scanned(engine, who.id, None)
    assert is_error(await who.http.post(path(asking), json={"verdict": "wrong"}), 409, "CHOICE_FIRST")
    await who.http.post(f"/api/v1/scan/{asking}/choice", json={"minor_category": "우유팩"})
    assert (await said(who, asking, "right"))["verdict"] == "right"


# --- export and the disputed ------------------------------------------------------------------------------------------


@pytest.fixture
async def alone(engine: AsyncEngine) -> None:
    """No feedback of other tests."""
    async with engine.begin() as tx:
        await tx.execute(delete(feedback))


@pytest.fixture
def eco2(environment: dict[str, str]) -> Callable[..., str]:
    """Runs the command in a thread, as it has an event loop of its own; its output."""

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(app, ["feedback", *arguments], env=environment)
        assert found.exit_code == 0, found.output
        return found.stdout

    return run


async def test_export_is_an_evaluation_set_without_people(
    engine: AsyncEngine, person: People, alone: None, eco2: Callable[..., str], tmp_path: Path
) -> None:
    who = person()
    right, wrong, shrug = [await scanned(engine, who.id) for _ in range(3)]
    await said(who, right, "right")
    await said(who, wrong, "wrong", minor_category="우유팩", comment="나는 안나")
    await said(who, shrug, "wrong")
    target = tmp_path / "set.jsonl"
    await asyncio.to_thread(eco2, "export", str(target))
    text = target.read_text()
    assert str(who.id) not in text
    assert "안나" not in text
    assert "주소" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["id"], line["verdict"], line["item"], line["answered"]) for line in lines] == [
        (str(right), "right", "water_pet", "water_pet"),
        (str(wrong), "wrong", "milk_carton", "water_pet"),
    ]
    assert lines[1]["stream"] == CARTON.stream
    assert lines[1]["image"].startswith("scan/")
    assert (lines[1]["model"], lines[1]["digest"], lines[1]["candidates"]) == ("test-eyes", "0" * 64, ["water_pet"])
    await asyncio.to_thread(eco2, "export", "--words", str(target))
    assert "주소" in target.read_text()
    assert not target.with_name("set.jsonl.part").exists()


async def test_the_most_disputed_items_come_first(
    engine: AsyncEngine, person: People, alone: None, eco2: Callable[..., str]
) -> None:
    who = person()
    for _ in range(2):
        await said(who, await scanned(engine, who.id, "ceramic"), "wrong", minor_category="우유팩")
    await said(who, await scanned(engine, who.id, "ceramic"), "right")
    for category in ("우유팩", BASE.item("ceramic").ko, BASE.item("ceramic").ko):
        await said(who, await scanned(engine, who.id), "wrong", minor_category=category)
    await said(who, await scanned(engine, who.id, "milk_carton"), "right")
    found = json.loads(await asyncio.to_thread(eco2, "top", "--json"))
    assert [(row["item_id"], row["wrong"], row["judged"]) for row in found] == [("water_pet", 3, 3), ("ceramic", 2, 3)]
    assert [(one["item_id"], one["times"]) for one in found[0]["meant"]] == [("ceramic", 2), ("milk_carton", 1)]
    table = await asyncio.to_thread(eco2, "top", "--limit", "1")
    assert BOTTLE.ko in table
    assert "100%" in table
    assert BASE.item("ceramic").ko not in table.splitlines()[1].split("100%")[0]


async def test_a_copy_of_ones_data_has_the_feedback(
    engine: AsyncEngine, person: People, environment: dict[str, str]
) -> None:
    who = person()
    judged, other = await scanned(engine, who.id), await scanned(engine, who.id)
    await said(who, judged, "wrong", minor_category="우유팩", comment="안쪽이 은색이에요")
    async with grpc.channel(environment["ECO2_GRPC_SCAN_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        page = await grpc.call(UserDataServiceStub(channel).Export, pb.ExportRequest(user_id=str(who.id)))
    found = {row["job_id"]: row["feedback"] for row in (json.loads(record.json) for record in page.records)}
    assert (found[str(judged)]["comment"], found[str(judged)]["actual_item_id"]) == ("안쪽이 은색이에요", CARTON.id)
    assert found[str(other)] is None


async def test_feedback_leaves_with_its_job(engine: AsyncEngine, person: People) -> None:
    who = person()
    job = await scanned(engine, who.id)
    await said(who, job, "right")
    async with engine.begin() as tx:
        await tx.execute(delete(jobs).where(jobs.c.id == job))
        assert (await tx.execute(select(feedback).where(feedback.c.job_id == job))).all() == []
