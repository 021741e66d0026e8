"""SessionService over gRPC: other services end somebody's sessions."""

from datetime import UTC
from functools import partial

from eco2.auth import service
from eco2.auth.service import Services
from eco2.contracts.pb import auth_pb2 as pb
from eco2.contracts.pb.auth_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server
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


def register(at: Services) -> Register:
    return partial(add_SessionServiceServicer_to_server, Sessions(at))
