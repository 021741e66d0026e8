"""Routes of scan-api."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from eco2 import knowledge, photos
from eco2.core.app import BadUser, MissingUser, Text, User, error_responses, opened, signed_in
from eco2.core.cursors import BadCursor
from eco2.core.errors import TooMany
from eco2.core.storage import StorageDown
from eco2.messaging.broker import BrokerDown
from eco2.scan import deletion, service, submission, waste_flow
from eco2.scan.admission import BudgetSpent, EventsFull, TooBusy
from eco2.scan.limits import TooManyOpenJobs, TooManyScans
from eco2.scan.progress import stage_text
from eco2.scan.result import Outcome, result_body
from eco2.scan.stages import ImageGone
from eco2.scan.store import Job
from eco2.scan.submission import ApiServices

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])

At = Annotated[ApiServices, opened(ApiServices)]

_JOB = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"
RETRY_SECONDS = 2
CLASSIFY_SECONDS = 30.0


_IMAGE_URL = "cdn_url of your uploaded photo. Required: without it the answer is 400 IMAGE_URL_REQUIRED"


class ScanRequest(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "required": ["image_url"],  # documented so; the service answers its own 400 where it is missing
            "examples": [
                {"image_url": "https://images.example.org/scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg"},
                {
                    "image_url": "https://images.example.org/scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg",
                    "user_input": "라벨을 못 뗐어요",
                    "model": "gpt-5.2",
                },
            ],
        }
    )

    image_url: Annotated[str | None, Field(max_length=1000, description=_IMAGE_URL)] = None
    user_input: Annotated[Text | None, Field(max_length=1000, description="What you want to say or ask")] = None
    model: Annotated[str | None, Field(max_length=100, description="Leave it out for the default")] = None


class ScanSubmitted(BaseModel):
    job_id: Annotated[UUID, Field(examples=[_JOB])]
    stream_url: Annotated[str, Field(examples=[f"/api/v1/scan/{_JOB}/events"])]
    result_url: Annotated[str, Field(examples=[f"/api/v1/scan/{_JOB}/result"])]
    status: Literal["queued"] = "queued"


class ScanClassification(BaseModel):
    major_category: Annotated[str, Field(examples=["재활용폐기물"])]
    middle_category: Annotated[str, Field(examples=["무색페트병"])]
    minor_category: Annotated[str, Field(examples=["생수병"])]


class ClassificationResult(BaseModel):
    classification: ScanClassification
    situation_tags: list[str]
    meta: dict[str, Any]


class FinalAnswer(BaseModel):
    disposal_steps: Annotated[dict[str, str], Field(examples=[{"단계1": "내용물을 비우고 헹구세요."}])]
    insufficiencies: Annotated[list[str], Field(description="What was not done yet; a reward needs it empty")]
    user_answer: str


class Stream(BaseModel):
    id: Annotated[str, Field(examples=["clear_pet"])]
    name: Annotated[str, Field(examples=["투명(무색) 페트병"])]
    name_en: Annotated[str, Field(examples=["Clear PET bottles"])]
    kind: Annotated[str, Field(examples=["recycle"])]


class Answered(BaseModel):
    classification_result: ClassificationResult
    disposal_rules: Annotated[dict[str, Any] | None, Field(description="The matched rule")]
    final_answer: FinalAnswer
    stream: Annotated[Stream | None, Field(description="Where it goes; null when the photo could not be told")]


class OtherThing(Answered):
    confidence: Annotated[float, Field(ge=0, le=1)]


class PipelineResult(Answered):
    others: Annotated[
        list[OtherThing],
        Field(description="What else the photo shows, each with its own answer; the fields above are of the main one"),
    ]


class Reward(BaseModel):
    name: Annotated[str, Field(examples=["페티"])]
    dialog: str
    match_reason: Annotated[str, Field(examples=["무색페트병>투명 페트병"])]
    type: str


class Candidate(BaseModel):
    middle_category: str
    minor_category: Annotated[str, Field(description="Give it to …/choice")]
    confidence: Annotated[float, Field(ge=0, le=1, description="0: the user's words name it, the photo does not")]


class ScanResult(BaseModel):
    """`reward` is always present: null means that none was earned."""

    task_id: UUID
    status: Annotated[Literal["completed"], Field(description="The scan is over, whatever its outcome")]
    outcome: Annotated[
        Outcome,
        Field(
            description="`answered`, also where there are candidates to choose from; `unsure`: nothing worth a guess; "
            "`failed`. Of the last two `pipeline_result` is null, and `error` and `code` say why"
        ),
    ]
    message: str | None
    error: Annotated[str | None, Field(description="Why there is no answer, in the language of the user")]
    code: Annotated[
        str | None,
        Field(
            description="The same for programs: NOT_RECOGNIZED or NO_WASTE of an unsure scan; of a failed one "
            "IMAGE_NOT_FOUND, IMAGE_TOO_LARGE, IMAGE_TYPE_NOT_SUPPORTED, IMAGE_UNREADABLE, SCAN_TIMED_OUT, SCAN_FAILED"
        ),
    ]
    pipeline_result: PipelineResult | None
    reward: Reward | None
    needs_choice: Annotated[bool, Field(description="There are candidates: POST the right one to …/choice")]
    candidates: Annotated[
        list[Candidate],
        Field(description="To choose from; the steps say of each where it goes"),
    ]


class ScanProcessing(BaseModel):
    status: Literal["processing"] = "processing"
    message: Annotated[str, Field(examples=["사진을 보고 있어요."])]
    current_stage: Annotated[str, Field(examples=["vision"])]
    progress: Annotated[int, Field(ge=0, le=100, examples=[25])]


class Choice(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"minor_category": "투명 페트병"}, {"minor_category": None}]}
    )

    minor_category: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=100,
            description="A candidate, or any name of GET /api/v1/scan/items; null: none of these",
        ),
    ]


class Category(BaseModel):
    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str, Field(examples=["재활용폐기물"])]
    display_name: Annotated[str, Field(examples=["재활용품"])]
    instructions: Annotated[
        list[str],
        Field(
            examples=[
                [
                    "비우고 물로 헹구세요.",
                    "라벨·뚜껑처럼 다른 재질을 나누세요.",
                    "종류별로 모아 섞지 말고 내세요.",
                ]
            ]
        ),
    ]


class ItemName(BaseModel):
    id: Annotated[str, Field(examples=["water_pet"])]
    minor_category: Annotated[str, Field(description="Give it to …/choice", examples=["생수병"])]
    middle_category: Annotated[str, Field(examples=["무색페트병"])]
    major_category: Annotated[str, Field(examples=["재활용폐기물"])]
    name_en: Annotated[str, Field(examples=["clear water bottle"])]


_USER_ERRORS = (MissingUser, BadUser)
QUOTAS = (TooManyOpenJobs, TooManyScans, TooMany)
_RESULT_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": ScanProcessing, "description": "Not finished; ask again after Retry-After seconds"},
    **error_responses(*_USER_ERRORS, service.ResultNotFound),
}
_SUBMIT_RESPONSES = error_responses(
    *_USER_ERRORS,
    service.ImageUrlRequired,
    service.ImageUrlRefused,
    service.ModelUnsupported,
    ImageGone,
    service.KeyReused,
    photos.PhotoTooLarge,
    *QUOTAS,
    TooBusy,
    EventsFull,
    BudgetSpent,
    service.ScanUnavailable,
    StorageDown,
)


@router.post(
    "",
    operation_id="submitScan",
    response_model=ScanSubmitted,
    summary="Submit a photo",
    responses=_SUBMIT_RESPONSES,
)
async def submit(
    body: ScanRequest,
    user: User,
    at: At,
    x_idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> ScanSubmitted:
    """Answers at once; follow `stream_url`, or poll `result_url`. With the same idempotency key, the same job.

    A 429 says after how many seconds to try again (`Retry-After`): the user's own limits (`TOO_MANY_OPEN_JOBS`,
    `TOO_MANY_SCANS`, `TOO_MANY_REQUESTS`), or that of all (`TOO_MANY_JOBS`, `TOO_MANY_PAID_SCANS`). A known key
    meets none of them."""
    job = await _submit(at, body, user, x_idempotency_key)
    base = f"/api/v1/scan/{job.id}"
    return ScanSubmitted(job_id=job.id, stream_url=f"{base}/events", result_url=f"{base}/result")


async def _submit(at: ApiServices, body: ScanRequest, user: UUID, idempotency_key: str | None) -> Job:
    return await submission.submit(at, at.door, user, idempotency_key, body.image_url, body.user_input, body.model)


@router.post(
    "/classify",
    operation_id="classifyPhoto",
    response_model=ScanResult,
    summary="Submit a photo and wait for its result",
    responses={**_RESULT_RESPONSES, **_SUBMIT_RESPONSES},
)
async def classify(
    body: ScanRequest,
    user: User,
    at: At,
    x_idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Any:
    """For clients that cannot stream. After CLASSIFY_SECONDS the answer is 202; the job goes on. So it is at once where
    as many requests of the user wait already as scans may be open."""
    job = await _submit(at, body, user, x_idempotency_key)
    with at.door.waits.place(user) as free:
        if free:
            await service.wait_done(at, job.id, CLASSIFY_SECONDS)
    return await result_response(at, job.id, user)


@router.get(
    "/categories",
    operation_id="listScanCategories",
    response_model=list[Category],
    dependencies=[signed_in],
    summary="The classes of waste",
    responses=error_responses(*_USER_ERRORS),
)
async def categories(at: At) -> list[Category]:
    return [Category.model_validate(row) for row in knowledge.categories(at.knowledge)]


@router.get(
    "/items",
    operation_id="listScanItems",
    response_model=list[ItemName],
    dependencies=[signed_in],
    summary="The names that a choice accepts",
    responses=error_responses(*_USER_ERRORS, BadCursor),
)
async def items(
    at: At,
    response: Response,
    q: Annotated[str, Query(max_length=100, description="Part of a name, Korean or English; aliases count")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="Header X-Next-Cursor of the page before")] = None,
) -> list[ItemName]:
    """Best match first. A word for several things finds all of them; without `q` the list is that of the catalogue.
    Header `X-Next-Cursor` is there while more follow."""
    found, following = service.page_of_items(at.knowledge, q, cursor, limit)
    if following is not None:
        response.headers["X-Next-Cursor"] = following
    return [ItemName(id=item.id, name_en=item.en, **item.classification.model_dump()) for item in found]


@router.get(
    "/{job_id}/result",
    operation_id="getScanResult",
    response_model=ScanResult,
    summary="The result of a scan",
    responses=_RESULT_RESPONSES,
)
async def result(job_id: UUID, user: User, at: At) -> Any:
    """A scan without an answer is 200 too: `outcome` is `failed` or `unsure`. A scan of another user is 404."""
    return await result_response(at, job_id, user)


@router.get(
    "/tasks/{job_id}",
    operation_id="getScanTask",
    response_model=ScanResult,
    summary="The result of a scan, under its former address",
    responses=_RESULT_RESPONSES,
)
async def task(job_id: UUID, user: User, at: At) -> Any:
    return await result_response(at, job_id, user)


async def result_response(at: service.Services, job_id: UUID, user: UUID) -> Any:
    """200 with the result, or 202 while there is none."""
    job = await service.find(at.db, job_id, user)
    if job.status in ("completed", "failed"):
        return result_body(at.knowledge, job)
    stage, percent = await waste_flow.stage_of(at, job)
    processing = ScanProcessing(message=stage_text(stage, job.language), current_stage=stage, progress=percent)
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Response(processing.model_dump_json(), 202, headers, media_type="application/json")


@router.delete(
    "/{job_id}",
    operation_id="deleteScan",
    status_code=204,
    summary="Delete a scan with its photo",
    responses=error_responses(*_USER_ERRORS, service.ResultNotFound, StorageDown),
)
async def delete(job_id: UUID, user: User, at: At) -> None:
    """Its result, your feedback and its events go as well; the photo stays only where another scan of yours shows it.
    Characters and points that it earned stay. One that still runs ends. Deleting it again answers 404."""
    await deletion.delete(at, job_id, user)


@router.post(
    "/{job_id}/choice",
    operation_id="chooseScanItem",
    response_model=ScanResult,
    summary="Say what an uncertain photo shows",
    responses=error_responses(
        *_USER_ERRORS, service.ResultNotFound, service.ChoiceNotNeeded, service.ChoiceUnknown, BrokerDown
    ),
)
async def choose(job_id: UUID, body: Choice, user: User, at: At) -> dict[str, Any]:
    """Completes a result that has `needs_choice`, or one that is `unsure`. Repeating the same choice is harmless.

    With null the outcome becomes `unsure`; a name may still be given afterwards."""
    job = await service.find(at.db, job_id, user)
    job = await service.choose(at, job, body.minor_category)
    await service.grant_choice(at, job)
    return result_body(at.knowledge, job)
