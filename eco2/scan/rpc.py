"""gRPC services of scan-api: a user's data, the user's preferences, the states of jobs."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

import orjson

from eco2.contracts.events import Draft
from eco2.contracts.pb import job_state_pb2 as states_pb
from eco2.contracts.pb import scan_pb2 as pb
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceServicer, add_JobStateServiceServicer_to_server
from eco2.contracts.pb.scan_pb2_grpc import PreferencesServiceServicer, add_PreferencesServiceServicer_to_server
from eco2.core import user_data
from eco2.core.errors import BadRequest
from eco2.core.grpc import Register, uuid_of
from eco2.messaging.events import frame_of
from eco2.scan import claims, states, user_scans
from eco2.scan.job import Job
from eco2.scan.services import Services

PREFERENCES = "eco2.scan.v1.PreferencesService"
JOB_STATES = "eco2.jobs.v1.JobStateService"
MOST_STATES = 500


class Preferences(PreferencesServiceServicer):
    def __init__(self, services: Services) -> None:
        self._services = services

    async def Put(self, request: pb.PutRequest, _context: object) -> pb.PutResponse:  # noqa: N802 - of the protocol
        user = uuid_of(request.user_id, user_data.BAD_ID)
        await user_scans.prefer(self._services.db, user, request.version, request.language, request.district or None)
        return pb.PutResponse()


class JobStates(JobStateServiceServicer):
    def __init__(self, services: Services) -> None:
        self._services = services

    async def Get(self, request: states_pb.GetJobStatesRequest, _context: object) -> states_pb.GetJobStatesResponse:  # noqa: N802
        if len(request.job_ids) > MOST_STATES:
            raise BadRequest(f"Ask for at most {MOST_STATES} jobs at once.", code="TOO_MANY_JOB_IDS")
        ids = [job_id for text in request.job_ids if (job_id := _job_id(text)) is not None]
        found = await states.states(self._services, ids)
        return states_pb.GetJobStatesResponse(states=[_state(job, end) for job, end in found])


def _job_id(text: str) -> UUID | None:
    """None for a text that is no id: it names no job."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _state(job: Job, end: Draft | None) -> states_pb.JobState:
    event = b"" if end is None else orjson.dumps(frame_of(str(job.id), end))
    return states_pb.JobState(job_id=str(job.id), user_id=str(job.user_id), terminal_event=event)


def registers(services: Services) -> Mapping[str, Register]:
    return {
        PREFERENCES: partial(add_PreferencesServiceServicer_to_server, Preferences(services)),
        JOB_STATES: partial(add_JobStateServiceServicer_to_server, JobStates(services)),
        user_data.NAME: user_data.register(
            partial(user_scans.export, services),
            partial(user_scans.purge, services),
            partial(claims.claim, services),
        ),
    }
