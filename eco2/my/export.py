"""Export of a user's data from every service that stores some."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

from eco2.contracts.pb import user_data_pb2 as pb
from eco2.core import grpc
from eco2.core.postgres import Session
from eco2.my import service, store
from eco2.my.store import Json

if TYPE_CHECKING:
    from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceAsyncStub


@dataclass(frozen=True)
class Source:
    """A service and the first page of its data."""

    service: "UserDataServiceAsyncStub"
    page: pb.ExportResponse


async def account(db: Session, user: UUID) -> Json:
    """UserNotFound."""
    found = asdict(await service.find(db, user))
    return {**found, "social_accounts": [asdict(row) for row in await store.social_accounts_of(db, user)]}


async def first_pages(services: "Mapping[str, UserDataServiceAsyncStub]", user: UUID) -> Sequence[Source]:
    """Asks every service before the first byte is written: Unavailable while one of them is away."""
    pages = await asyncio.gather(*(_page(service, user, "") for service in services.values()))
    return [Source(service, page) for service, page in zip(services.values(), pages, strict=True)]


async def _page(service: "UserDataServiceAsyncStub", user: UUID, cursor: str) -> pb.ExportResponse:
    return await grpc.call(service.Export, pb.ExportRequest(user_id=str(user), cursor=cursor), timeout=20)


async def write(account: Json, sources: Sequence[Source], user: UUID) -> AsyncIterator[bytes]:
    """One JSON object, in pieces: a list for each kind of record. Broken off when a service goes away meanwhile."""
    head = orjson.dumps({"exported_at": datetime.now(UTC), "account": account})
    yield head.removesuffix(b"}")
    kind = ""
    for source in sources:
        async for record in _records(source, user):
            yield b"," if record.kind == kind else _list_of(record.kind, kind)
            yield record.json
            kind = record.kind
    yield b"]}" if kind else b"}"


def _list_of(kind: str, before: str) -> bytes:
    return (b"]," if before else b",") + orjson.dumps(kind) + b":["


async def _records(source: Source, user: UUID) -> AsyncIterator[pb.ExportRecord]:
    page = source.page
    while True:
        for record in page.records:
            yield record
        if not page.next_cursor:
            return
        page = await _page(source.service, user, page.next_cursor)
