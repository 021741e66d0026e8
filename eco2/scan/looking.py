"""gRPC service of scan-worker: vision for photos of chats, with the models, the cache and the decoders of scans."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from uuid import UUID

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.pb import scan_pb2 as pb
from eco2.contracts.pb.scan_pb2_grpc import VisionServiceServicer, add_VisionServiceServicer_to_server
from eco2.core import grpc, telemetry, user_data
from eco2.core.errors import Unavailable
from eco2.core.grpc import Register, uuid_of
from eco2.core.ops import Check
from eco2.core.storage import Storage
from eco2.llm import budget
from eco2.scan.errors import ImageGone
from eco2.scan.outputs import Candidate, Other, VisionResult
from eco2.scan.settings import WorkerSettings
from eco2.scan.vision.choose import Models
from eco2.scan.worker_resources import Resources

VISION = "eco2.scan.v1.VisionService"
MOST_LOOKS = 16
"""At once, of each worker. Scans come by their own way, a queue, and are not kept waiting by chats."""
CHANNELS = ("chat", "scan")
CHAT_NODE = "vision"
"""Of the turn that asks for the look; a scan of its own has none."""


class ModelBusy(Unavailable):
    """Too many photos are being looked at; try again in a moment."""

    code = "MODEL_BUSY"


async def serve(tasks: asyncio.TaskGroup, settings: WorkerSettings, resources: Resources) -> Check:
    """Answer looks in a task of the group until it is cancelled; a check for `/ready`.

    Then nothing new is begun (`resources.ending`), and looks finish while messages do."""
    opened: asyncio.Future[Check] = asyncio.get_running_loop().create_future()

    async def answer() -> None:
        services = registers(resources.storage, resources.models, resources.upload_secret)
        try:
            async with grpc.serving(settings, services) as check:
                opened.set_result(check)
                try:
                    await asyncio.Event().wait()
                finally:
                    resources.ending.set()
        finally:
            opened.cancel()  # where it could not be opened; the group then has the error

    tasks.create_task(answer())
    return await opened


class Vision(VisionServiceServicer):
    def __init__(self, storage: Storage, models: Models, upload_secret: str) -> None:
        self._storage, self._models, self._secret = storage, models, upload_secret
        self._room = asyncio.Semaphore(MOST_LOOKS)

    async def Classify(self, request: pb.ClassifyRequest, _context: object) -> pb.ClassifyResponse:  # noqa: N802 - of the protocol
        user = uuid_of(request.user_id, user_data.BAD_ID)
        telemetry.about_job(request.job_id)
        budget.spender.set(str(user))
        budget.chat_node.set(CHAT_NODE)
        if uploads.key_channel(request.key) not in CHANNELS or not uploads.owns(self._secret, str(user), request.key):
            raise ImageGone
        if self._room.locked():
            raise ModelBusy
        async with self._room:
            return _response(await self._look(user, request.key, request.model or None, asked=request.asked))

    async def _look(self, user: UUID, key: str, model: str | None, *, asked: bool) -> VisionResult:
        """Look at the published copy, since the upload may have been replaced or removed."""
        data = await self._storage.public.get(key, photos.MAX_BYTES)
        if data is None:
            raise ImageGone
        return await self._models.look(self._models.picture(user, model, data), model, asked=asked)


def _response(seen: VisionResult) -> pb.ClassifyResponse:
    main = None
    if seen.item_id is not None:
        main = pb.Sight(item=seen.item_id, confidence=seen.confidence, situations=seen.situations)
    return pb.ClassifyResponse(
        main=main,
        guesses=_sights(seen.candidates),
        others=_sights(seen.others),
        waste=seen.waste,
        source=seen.source or "",
        model=seen.model,
    )


def _sights(found: Iterable[Candidate | Other]) -> list[pb.Sight]:
    return [
        pb.Sight(item=one.item_id, confidence=one.confidence, situations=getattr(one, "situations", ()))
        for one in found
    ]


def registers(storage: Storage, models: Models, upload_secret: str) -> Mapping[str, Register]:
    return {VISION: partial(add_VisionServiceServicer_to_server, Vision(storage, models, upload_secret))}
