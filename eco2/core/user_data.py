"""`eco2.users.v1.UserDataService`, which every service that keeps data of people answers: a copy of it, its
removal, its change of owner."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from eco2.contracts.pb import user_data_pb2 as pb
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceServicer, add_UserDataServiceServicer_to_server
from eco2.core.grpc import Register, uuid_of

NAME = "eco2.users.v1.UserDataService"
BAD_ID = "INVALID_USER_ID"

Records = Sequence[tuple[str, dict[str, Any]]]
"""(kind, record); records of one kind come together."""
Export = Callable[[UUID, str], Awaitable[tuple[Records, str]]]
"""(user, cursor of the page before or "") → the next page, and its cursor, "" on the last one."""
Purge = Callable[[UUID], Awaitable[int]]
"""user → rows removed. It may be asked again at any time."""


Claim = Callable[[UUID, UUID], Awaitable[int]]
"""(guest, user) → what became the user's. It may be asked again at any time."""


async def _nothing(_guest: UUID, _user: UUID) -> int:
    return 0


class _UserData(UserDataServiceServicer):
    def __init__(self, export: Export, purge: Purge, claim: Claim) -> None:
        self._export = export
        self._purge = purge
        self._claim = claim

    async def Export(self, request: pb.ExportRequest, _context: object) -> pb.ExportResponse:  # noqa: N802 - of the protocol
        records, cursor = await self._export(uuid_of(request.user_id, BAD_ID), request.cursor)
        found = [pb.ExportRecord(kind=kind, json=orjson.dumps(record)) for kind, record in records]
        return pb.ExportResponse(records=found, next_cursor=cursor)

    async def Purge(self, request: pb.PurgeRequest, _context: object) -> pb.PurgeResponse:  # noqa: N802
        return pb.PurgeResponse(removed=await self._purge(uuid_of(request.user_id, BAD_ID)))

    async def Claim(self, request: pb.ClaimRequest, _context: object) -> pb.ClaimResponse:  # noqa: N802
        guest, user = uuid_of(request.guest_id, BAD_ID), uuid_of(request.user_id, BAD_ID)
        return pb.ClaimResponse(claimed=await self._claim(guest, user))


def register(export: Export, purge: Purge, claim: Claim = _nothing) -> Register:
    """`claim` is left out by who keeps nothing of guests."""
    return partial(add_UserDataServiceServicer_to_server, _UserData(export, purge, claim))
