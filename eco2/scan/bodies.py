"""Bodies of requests and answers of scan-api."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from eco2 import photos
from eco2.core.app import BadUser, MissingUser, Text, error_responses
from eco2.core.errors import TooMany
from eco2.core.storage import StorageDown
from eco2.knowledge import Lang
from eco2.scan import errors
from eco2.scan.admission import BudgetSpent, EventsFull, TooBusy, TooManyGuests
from eco2.scan.errors import ImageGone
from eco2.scan.limits import TooManyOpenJobs, TooManyScans
from eco2.scan.result import Outcome

_JOB = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"

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
                    "language": "en",
                },
            ],
        }
    )

    image_url: Annotated[str | None, Field(max_length=1000, description=_IMAGE_URL)] = None
    user_input: Annotated[Text | None, Field(max_length=1000, description="A note or question about the photo")] = None
    model: Annotated[str | None, Field(max_length=100, description="Leave it out for the default")] = None
    language: Annotated[Lang | None, Field(description="Of the answer; by default as you prefer")] = None


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
    insufficiencies: Annotated[list[str], Field(description="Steps not done yet; a reward needs it empty")]
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
    stream: Annotated[Stream | None, Field(description="Stream of the item; null when the item is unknown")]


class OtherThing(Answered):
    confidence: Annotated[float, Field(ge=0, le=1)]


class PipelineResult(Answered):
    others: Annotated[
        list[OtherThing],
        Field(description="Other items in the photo, each with its own answer; the fields above are of the main one"),
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
    status: Annotated[Literal["completed"], Field(description="The scan is over, with any outcome")]
    outcome: Annotated[
        Outcome,
        Field(
            description="`answered`, also with candidates to choose from; `unsure`: nothing worth a guess; "
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
        Field(description="To choose from; the steps name the stream of each"),
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


USER_ERRORS = (MissingUser, BadUser)
QUOTAS = (TooManyOpenJobs, TooManyScans, TooMany)
RESULT_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": ScanProcessing, "description": "Not finished; ask again after Retry-After seconds"},
    **error_responses(*USER_ERRORS, errors.ResultNotFound),
}
SUBMIT_RESPONSES = error_responses(
    *USER_ERRORS,
    errors.ImageUrlRequired,
    errors.ImageUrlRefused,
    errors.ModelUnsupported,
    ImageGone,
    errors.KeyReused,
    photos.PhotoTooLarge,
    *QUOTAS,
    TooBusy,
    TooManyGuests,
    EventsFull,
    BudgetSpent,
    errors.ScanUnavailable,
    StorageDown,
)
