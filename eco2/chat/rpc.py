"""gRPC services of chat-api: a user's data, the states of turns."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import orjson

from eco2.chat import announcing, claims, service, turn_store
from eco2.chat.conversation import Talk
from eco2.chat.turn_store import Exchange
from eco2.contracts.pb import job_state_pb2 as pb
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceServicer, add_JobStateServiceServicer_to_server
from eco2.core import user_data
from eco2.core.errors import BadRequest
from eco2.core.grpc import Register
from eco2.messaging.events import frame_of

JOB_STATES = "eco2.jobs.v1.JobStateService"
MOST_STATES = 500
EVENTS_TAKE = timedelta(seconds=5)
"""Longest time that the last event of a turn may be on its way."""


class JobStates(JobStateServiceServicer):
    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def Get(self, request: pb.GetJobStatesRequest, _context: object) -> pb.GetJobStatesResponse:  # noqa: N802 - of the protocol
        if len(request.job_ids) > MOST_STATES:
            raise BadRequest(f"Ask for at most {MOST_STATES} jobs at once.", code="TOO_MANY_JOB_IDS")
        ids = [job_id for text in request.job_ids if (job_id := _job_id(text)) is not None]
        found = await turn_store.exchanges(self._talk.db, ids)
        return pb.GetJobStatesResponse(states=[self._state(one) for one in found])

    def _state(self, found: Exchange) -> pb.JobState:
        turn, event = found.turn, b""
        if found.finished_at is not None and found.finished_at < datetime.now(UTC) - EVENTS_TAKE:
            event = orjson.dumps(frame_of(str(turn.id), announcing.ending(self._talk.storage, found)))
        return pb.JobState(job_id=str(turn.id), user_id=str(turn.user_id), terminal_event=event)


def _job_id(text: str) -> UUID | None:
    """None for a text that is no id: it names no job."""
    try:
        return UUID(text)
    except ValueError:
        return None


def registers(talk: Talk) -> Mapping[str, Register]:
    return {
        user_data.NAME: user_data.register(
            partial(service.export, talk), partial(service.purge, talk), partial(claims.claim, talk)
        ),
        JOB_STATES: partial(add_JobStateServiceServicer_to_server, JobStates(talk)),
    }
