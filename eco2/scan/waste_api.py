"""Routes of the waste flow: a job first, then its photo, then polling. The same jobs and pipeline as `/scan`."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from eco2 import photos
from eco2.core.app import AnyUser, Asked, Shortcut, Text, error_responses
from eco2.core.errors import TooMany
from eco2.core.short_cuts import ShortCut
from eco2.core.storage import UPLOAD_TIME, StorageDown
from eco2.scan import errors, service, waste_flow
from eco2.scan.admission import BudgetSpent, EventsFull, TooBusy, TooManyGuests
from eco2.scan.api import At, result_response
from eco2.scan.bodies import QUOTAS, USER_ERRORS, ScanProcessing, ScanResult
from eco2.scan.errors import ImageGone
from eco2.scan.limits import TooManyTickets
from eco2.scan.services import Services

router = APIRouter(prefix="/api/v1/waste", tags=["waste"])

_JOB = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"


class WasteRequest(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"content_type": "image/jpeg"}]})

    content_type: Annotated[str, Field(max_length=255)] = "image/jpeg"
    user_input: Annotated[Text | None, Field(max_length=1000)] = None
    model: Annotated[str | None, Field(max_length=100)] = None


class WasteJob(BaseModel):
    job_id: Annotated[UUID, Field(examples=[_JOB])]
    upload_url: Annotated[
        str,
        Field(
            description="PUT the photo here, with any Content-Type or none, and no credentials",
            examples=[
                "https://api.example.org/eco2-uploads/scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg?X-Amz-Signature=3c1f"
            ],
        ),
    ]
    status_url: Annotated[str, Field(examples=[f"/api/v1/waste/status/{_JOB}"])]
    expires_in: Annotated[int, Field(examples=[900])]


class WasteProcessing(BaseModel):
    status: Annotated[str, Field(examples=["processing"])] = "processing"


class WasteStatus(BaseModel):
    job_id: Annotated[UUID, Field(examples=[_JOB])]
    progress: Annotated[int, Field(ge=-1, le=100, description="Percent; -1 when the job failed", examples=[25])]
    message: Annotated[str, Field(examples=["사진을 보고 있어요."])]
    result: Annotated[
        ScanResult | None, Field(description="After the end: the answer of …/result, also of a failed job")
    ] = None


@router.post(
    "/analyze",
    operation_id="createWasteJob",
    response_model=WasteJob,
    summary="Create a job and get a URL to upload its photo to",
    responses=error_responses(
        *USER_ERRORS,
        errors.ModelUnsupported,
        photos.PhotoTypeRefused,
        TooManyTickets,
        TooMany,
        TooBusy,
        TooManyGuests,
        EventsFull,
        BudgetSpent,
        StorageDown,
    ),
)
async def analyze(body: WasteRequest, user: AnyUser, at: At) -> WasteJob:
    job_id, key = await waste_flow.prepare_in_turn(at, at.door, user, body.content_type, body.user_input, body.model)
    return WasteJob(
        job_id=job_id,
        upload_url=await at.storage.upload_url(key),
        status_url=f"/api/v1/waste/status/{job_id}",
        expires_in=int(UPLOAD_TIME.total_seconds()),
    )


@router.post(
    "/upload-complete/{job_id}",
    operation_id="startWasteJob",
    response_model=WasteProcessing,
    summary="Say that the photo is uploaded",
    responses=error_responses(
        *USER_ERRORS,
        errors.ResultNotFound,
        ImageGone,
        photos.PhotoTooLarge,
        *QUOTAS,
        errors.ScanUnavailable,
        StorageDown,
    ),
)
async def upload_complete(job_id: UUID, user: AnyUser, at: At) -> WasteProcessing:
    """Starts the scan. Saying it again is harmless."""
    job = await waste_flow.accept_upload_in_turn(at, at.door, job_id, user)
    if not job.enqueued:
        await service.hand_over(at, job, at.tasks_publisher)
    return WasteProcessing()


@router.get(
    "/status/{job_id}",
    operation_id="getWasteJobStatus",
    response_model=WasteStatus,
    summary="Progress of a job",
    responses=error_responses(*USER_ERRORS, errors.ResultNotFound),
)
async def status(job_id: UUID, user: AnyUser, at: At) -> Any:
    """For polling: it reads the newest event of the job, and without events the job itself."""
    return await waste_flow.status(at, job_id, user)


async def _polled(at: Services, asked: Asked) -> bytes:
    return orjson.dumps(await waste_flow.status(at, UUID(asked.rest), asked.user))


POLLED = Shortcut(ShortCut.POLLED_ROUTE, f"{router.prefix}/status/{{job_id}}", _polled)


@router.get(
    "/result/{job_id}",
    operation_id="getWasteJobResult",
    response_model=ScanResult,
    summary="The result of a job",
    responses={
        202: {"model": ScanProcessing, "description": "Not finished; ask again after Retry-After seconds"},
        **error_responses(*USER_ERRORS, errors.ResultNotFound),
    },
)
async def result(job_id: UUID, user: AnyUser, at: At) -> Any:
    return await result_response(at, job_id, user)
