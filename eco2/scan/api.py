"""Routes that submit a photo and return its result."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Response

from eco2.core.app import AnyUser, opened
from eco2.scan import service, states, submission, waste_flow
from eco2.scan.bodies import RESULT_RESPONSES, SUBMIT_RESPONSES, ScanProcessing, ScanRequest, ScanResult, ScanSubmitted
from eco2.scan.door import ApiServices
from eco2.scan.job import Job
from eco2.scan.progress import stage_text
from eco2.scan.result import result_body
from eco2.scan.services import Services

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])

At = Annotated[ApiServices, opened(ApiServices)]

RETRY_SECONDS = 2
CLASSIFY_SECONDS = 30.0


@router.post(
    "",
    operation_id="submitScan",
    response_model=ScanSubmitted,
    summary="Submit a photo",
    responses=SUBMIT_RESPONSES,
)
async def submit(
    body: ScanRequest,
    user: AnyUser,
    at: At,
    x_idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> ScanSubmitted:
    """Answers at once; follow `stream_url`, or poll `result_url`. With the same idempotency key, the same job.

    A 429 has the seconds to wait in `Retry-After`. Limits are the user's (`TOO_MANY_OPEN_JOBS`,
    `TOO_MANY_SCANS`, `TOO_MANY_REQUESTS`), those of all users (`TOO_MANY_JOBS`, `TOO_MANY_PAID_SCANS`) or of all
    guests (`TOO_MANY_GUEST_JOBS`). A known key is exempt."""
    job = await _submit(at, body, user, x_idempotency_key)
    base = f"/api/v1/scan/{job.id}"
    return ScanSubmitted(job_id=job.id, stream_url=f"{base}/events", result_url=f"{base}/result")


async def _submit(at: ApiServices, body: ScanRequest, user: UUID, idempotency_key: str | None) -> Job:
    said, model, language = body.user_input, body.model, body.language
    return await submission.submit(at, at.door, user, idempotency_key, body.image_url, said, model, language)


@router.post(
    "/classify",
    operation_id="classifyPhoto",
    response_model=ScanResult,
    summary="Submit a photo and wait for its result",
    responses={**RESULT_RESPONSES, **SUBMIT_RESPONSES},
)
async def classify(
    body: ScanRequest,
    user: AnyUser,
    at: At,
    x_idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Any:
    """For clients that cannot stream. After 30 seconds the answer is 202, and the job goes on. It is 202 at once when
    as many requests of the user already wait as scans may be open."""
    job = await _submit(at, body, user, x_idempotency_key)
    with at.door.waits.place(user) as free:
        if free:
            await states.wait_done(at, job.id, CLASSIFY_SECONDS)
    return await result_response(at, job.id, user)


@router.get(
    "/{job_id}/result",
    operation_id="getScanResult",
    response_model=ScanResult,
    summary="The result of a scan",
    responses=RESULT_RESPONSES,
)
async def result(job_id: UUID, user: AnyUser, at: At) -> Any:
    """A scan without an answer is 200 too: `outcome` is `failed` or `unsure`. A scan of another user is 404."""
    return await result_response(at, job_id, user)


@router.get(
    "/tasks/{job_id}",
    operation_id="getScanTask",
    response_model=ScanResult,
    summary="The result of a scan, under its former address",
    responses=RESULT_RESPONSES,
)
async def task(job_id: UUID, user: AnyUser, at: At) -> Any:
    return await result_response(at, job_id, user)


async def result_response(at: Services, job_id: UUID, user: UUID) -> Any:
    """200 with the result, or 202 while there is none."""
    job = await service.find(at.db, job_id, user)
    if job.status in ("completed", "failed"):
        return result_body(at.knowledge, job)
    stage, percent = await waste_flow.stage_of(at, job)
    processing = ScanProcessing(message=stage_text(stage, job.language), current_stage=stage, progress=percent)
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Response(processing.model_dump_json(), 202, headers, media_type="application/json")
