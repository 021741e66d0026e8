"""Scans that chats continue, requested from scan-api."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import orjson

from eco2.chat.store import Json
from eco2.contracts.pb import job_state_pb2 as pb
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceStub
from eco2.core import grpc
from eco2.core.errors import Unavailable
from eco2.core.grpc import Method
from eco2.knowledge import Knowledge

log = logging.getLogger(__name__)

Ask = Method[pb.GetJobStatesRequest, pb.GetJobStatesResponse]


class ScansUnavailable(Unavailable):
    """Scans cannot be asked about at the moment; begin the chat without one, or try again."""

    code = "SCANS_UNAVAILABLE"


class Scans:
    """Without `ask` no scan is known."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask

    async def _state(self, job_id: UUID) -> pb.JobState | None:
        if self._ask is None:
            raise ScansUnavailable
        found = await grpc.call(self._ask, pb.GetJobStatesRequest(job_ids=[str(job_id)]))
        return next(iter(found.states), None)

    async def owns(self, user: UUID, job_id: UUID) -> bool:
        """True where the scan is the user's. Unavailable."""
        state = await self._state(job_id)
        return state is not None and state.user_id == str(user)

    async def remembered(self, knowledge: Knowledge, job_id: UUID) -> Json | None:
        """The thing that the scan showed, as the memory of a chat; None where it showed none, is not over, or cannot be
        asked about."""
        try:
            state = await self._state(job_id)
        except Unavailable as error:
            log.warning("a chat begins without its scan: %s", error)
            return None
        item = knowledge.resolve(_shown(state.terminal_event)) if state and state.terminal_event else None
        return {"item": item.id} if item else None


def _shown(event: bytes) -> str:
    found = orjson.loads(event).get("result") or {}
    classified = (found.get("pipeline_result") or {}).get("classification_result") or {}
    return str((classified.get("classification") or {}).get("minor_category") or "")


@asynccontextmanager
async def open_scans(address: str | None, secret: str | None) -> AsyncIterator[Scans]:
    if address is None:
        yield Scans(None)
        return
    async with grpc.channel(address, secret) as channel:
        yield Scans(JobStateServiceStub(channel).Get)
