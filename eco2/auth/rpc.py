"""gRPC services of auth-api: end a user's sessions; export or remove a user's data."""

from collections.abc import Mapping
from datetime import UTC
from functools import partial
from uuid import UUID

from eco2.auth import service, store
from eco2.auth.service import Services
from eco2.contracts.pb import auth_pb2 as pb
from eco2.contracts.pb.auth_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server
from eco2.core import user_data
from eco2.core.grpc import Register, uuid_of

NAME = "eco2.auth.v1.SessionService"


class Sessions(SessionServiceServicer):
    def __init__(self, at: Services) -> None:
        self._at = at

    async def RevokeAll(  # noqa: N802 - the name of the protocol
        self, request: pb.RevokeAllRequest, _context: object
    ) -> pb.RevokeAllResponse:
        user = uuid_of(request.user_id, "INVALID_USER_ID")
        before = request.issued_before.ToDatetime(UTC) if request.HasField("issued_before") else None
        ended = await service.end_all(self._at, user, request.reason or "service", before=before)
        return pb.RevokeAllResponse(revoked=ended)


def registers(at: Services) -> Mapping[str, Register]:
    return {
        NAME: partial(add_SessionServiceServicer_to_server, Sessions(at)),
        user_data.NAME: user_data.register(partial(_export, at), partial(_purge, at)),
    }


async def _export(at: Services, user: UUID, _cursor: str) -> tuple[user_data.Records, str]:
    sessions, audits = await store.sign_ins_of(at.db, user)
    return [*(("sessions", row) for row in sessions), *(("sign_ins", row) for row in audits)], ""


async def _purge(at: Services, user: UUID) -> int:
    async with at.db.transaction() as tx:
        return await store.forget(tx, user)
