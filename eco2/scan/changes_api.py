"""Routes that change a scan after its submission: delete it, choose among its candidates."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from eco2.core.app import AnyUser, error_responses
from eco2.core.storage import StorageDown
from eco2.messaging.broker import BrokerDown
from eco2.scan import choice, deletion, errors, service
from eco2.scan.api import At
from eco2.scan.bodies import USER_ERRORS, Choice, ScanResult
from eco2.scan.result import result_body

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])


@router.delete(
    "/{job_id}",
    operation_id="deleteScan",
    status_code=204,
    summary="Delete a scan with its photo",
    responses=error_responses(*USER_ERRORS, errors.ResultNotFound, StorageDown),
)
async def delete(job_id: UUID, user: AnyUser, at: At) -> None:
    """Its result, your feedback and its events go as well; the photo stays only where another scan of yours shows it.
    Characters and points that it earned stay. One that still runs ends. Deleting it again answers 404."""
    await deletion.delete(at, job_id, user)


@router.post(
    "/{job_id}/choice",
    operation_id="chooseScanItem",
    response_model=ScanResult,
    summary="Name the item of an uncertain photo",
    responses=error_responses(
        *USER_ERRORS, errors.ResultNotFound, errors.ChoiceNotNeeded, errors.ChoiceUnknown, BrokerDown
    ),
)
async def choose(job_id: UUID, body: Choice, user: AnyUser, at: At) -> dict[str, Any]:
    """Completes a result that has `needs_choice`, or one that is `unsure`. Repeating the same choice is harmless.

    With null the outcome becomes `unsure`; a name may still be given afterwards."""
    job = await service.find(at.db, job_id, user)
    job = await choice.choose(at, job, body.minor_category)
    await choice.grant_choice(at, job)
    return result_body(at.knowledge, job)
