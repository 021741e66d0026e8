"""The polled status before the framework, and its slow twin, the route itself: the same body."""

import uuid
from unittest.mock import Mock

import httpx2
import orjson
import pytest

from eco2.contracts.events import Stage
from eco2.contracts.identity import USER_ID_HEADER
from eco2.core.app import Asked, api_app
from eco2.scan import service, store, waste_api, waste_flow
from eco2.scan.door import ApiServices
from eco2.scan.errors import ResultNotFound
from eco2.scan.failures import TooLate
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, FinalAnswer, Rule
from eco2.scan.progress import PROGRESS, both, stage_text, started
from eco2.scan.services import Services
from tests.integration.test_scan_service import SEEN, load, register
from tests.redis_server import until


async def unchanged(_rule: Rule, composed: FinalAnswer, _job: Job) -> Answer:
    return Answer.of(composed, "rules")


@pytest.mark.parametrize("end", ["open", "completed", "failed"])
async def test_the_route_answers_what_its_short_cut_does(services: Services, end: str) -> None:
    at = ApiServices(**{**vars(services), "publisher": _silent()}, tasks_publisher=Mock(), door=Mock())
    job = await register(at, user=uuid.uuid4())
    if end == "failed":
        await service.fail(at, job.id, TooLate())
    if end == "completed":
        await store.save_vision(at.db, job.id, SEEN)
        await service.match_rule(at, await load(at, job))
        await service.write_answer(at, await load(at, job), unchanged)
    app = api_app("scan-api", waste_api.router)
    app.state.services = at
    path = waste_api.POLLED.route.format(job_id=job.id)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        answered = await client.get(path, headers={USER_ID_HEADER: str(job.user_id)})
    assert answered.status_code == 200
    short = orjson.loads(await waste_api.POLLED.answer(at, Asked(job.user_id, str(job.id), b"")) or b"")
    assert answered.json() == short


async def test_the_row_of_a_silent_job_is_read_now_and_then(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await register(services, user=uuid.uuid4())
    await services.bus.emit(str(job.id), *both(Stage.QUEUED), started(Stage.VISION), owner=str(job.user_id))

    async def forwarded() -> bool:
        frame = await services.bus.state(str(job.id))
        return frame is not None and frame["stage"] == Stage.VISION

    async def status() -> tuple[object, object]:
        told = await waste_flow.status(services, job.id, job.user_id)
        return told["progress"], told["message"]

    await until(forwarded)
    monkeypatch.setattr(waste_flow, "SILENT_SECONDS", 3600.0)
    assert await status() == (0, stage_text("vision", None))
    await store.save_vision(services.db, job.id, SEEN)  # its event is lost
    monkeypatch.setattr(waste_flow, "_silent", lambda _frame: True)
    assert await status() == (0, stage_text("queued", None)), "the row as it was read at first"
    monkeypatch.setattr(waste_flow, "SILENT_SECONDS", -1.0)
    later = PROGRESS["vision"], stage_text("rule", None)
    assert await status() == later
    monkeypatch.setattr(waste_flow, "_silent", lambda _frame: False)
    assert await status() == later, "an older event takes nobody back"
    monkeypatch.setattr(waste_flow, "_silent", lambda _frame: True)
    await service.fail(services, job.id, TooLate())
    assert (await status())[0] == -1
    with pytest.raises(ResultNotFound):
        await waste_flow.status(services, job.id, uuid.uuid4())


def _silent() -> Mock:
    """A publisher that tells nobody: the running workers leave the job alone."""

    async def sent(*_args: object, **_options: object) -> None:
        return

    return Mock(send_task=sent, send_json=sent)
