"""The state of a job from its own service, for streams without events."""

import asyncio
from collections.abc import Mapping

from eco2.contracts.pb import job_state_pb2 as pb
from eco2.core.errors import Unavailable
from eco2.core.grpc import Method, call

WINDOW_SECONDS = 0.1
"""Questions of this time go out as one call."""
CALL_SECONDS = 3.0
MOST = 500
"""Jobs in one call, as the service takes them."""

Ask = Method[pb.GetJobStatesRequest, pb.GetJobStatesResponse]


class JobStates:
    """Ask the services of jobs by name (`scan`). A service without a method is never asked and knows no job."""

    def __init__(self, methods: Mapping[str, Ask]) -> None:
        self._methods = methods
        self._waiting: dict[str, dict[str, asyncio.Future[pb.JobState | None]]] = {name: {} for name in methods}
        self._calls: set[asyncio.Task[None]] = set()

    async def get(self, service: str, job_id: str) -> pb.JobState | None:
        """None for a job that the service does not know. Unavailable when it does not answer."""
        if service not in self._methods:
            return None
        waiting = self._waiting[service]
        if not waiting:
            task = asyncio.create_task(self._ask(service))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        answer = waiting.get(job_id)
        if answer is None:
            answer = waiting[job_id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(answer)

    async def _ask(self, service: str) -> None:
        await asyncio.sleep(WINDOW_SECONDS)
        asked, self._waiting[service] = self._waiting[service], {}
        ids = list(asked)
        for start in range(0, len(ids), MOST):
            await self._ask_some(service, {job_id: asked[job_id] for job_id in ids[start : start + MOST]})

    async def _ask_some(self, service: str, asked: Mapping[str, "asyncio.Future[pb.JobState | None]"]) -> None:
        try:
            answer = await call(self._methods[service], pb.GetJobStatesRequest(job_ids=asked), CALL_SECONDS)
        except Exception as error:  # noqa: BLE001 - each stream decides what an unanswered question means
            failure = error if isinstance(error, Unavailable) else Unavailable(repr(error))
            for future in asked.values():
                if not future.done():
                    future.set_exception(failure)
                    future.exception()  # its stream may be gone
            return
        known = {state.job_id: state for state in answer.states}
        for job_id, future in asked.items():
            if not future.done():
                future.set_result(known.get(job_id))
