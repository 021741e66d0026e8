"""gRPC services of character-api: characters; export and removal of a user's data."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from eco2.character import service, store
from eco2.character.service import Scanned
from eco2.contracts.grants import DEFAULT_CHARACTER
from eco2.contracts.pb import character_pb2 as pb
from eco2.contracts.pb.character_pb2_grpc import CharacterServiceServicer, add_CharacterServiceServicer_to_server
from eco2.core import cursors, user_data
from eco2.core.errors import BadRequest
from eco2.core.grpc import Register, uuid_of
from eco2.core.postgres import Database, Session
from eco2.knowledge import Knowledge

NAME = "eco2.character.v1.CharacterService"
PAGE = 500


class BadSource(BadRequest):
    """A character is earned by a scan; the source is "scan"."""

    code = "INVALID_SOURCE"


class Characters(CharacterServiceServicer):
    def __init__(self, db: Database, knowledge: Knowledge) -> None:
        self._db = db
        self._knowledge = knowledge

    async def GetCharacterReward(  # noqa: N802 - names of the protocol, here and below
        self, request: pb.GetCharacterRewardRequest, _context: object
    ) -> pb.GetCharacterRewardResponse:
        user, task = uuid_of(request.user_id, user_data.BAD_ID), uuid_of(request.task_id, "INVALID_TASK_ID")
        if request.source != "scan":
            raise BadSource
        seen = request.classification
        scanned = Scanned(
            major=seen.major_category,
            middle=seen.middle_category,
            rule_found=request.disposal_rules_present,
            complete=not request.insufficiencies_present,
        )
        character = service.earned(self._knowledge, scanned)
        if character is None:
            return pb.GetCharacterRewardResponse()
        async with self._db.transaction() as tx:
            received = await service.give(tx, character, user, task)
        return pb.GetCharacterRewardResponse(
            received=received,
            already_owned=not received,
            name=character.name,
            dialog=character.dialog,
            match_reason=f"{seen.middle_category}>{seen.minor_category}",
            character_type=character.type,
            type=character.type,
        )

    async def GetDefaultCharacter(  # noqa: N802
        self, _request: pb.GetDefaultCharacterRequest, _context: object
    ) -> pb.GetDefaultCharacterResponse:
        found = service.by_code(self._knowledge)[DEFAULT_CHARACTER]
        return pb.GetDefaultCharacterResponse(
            found=True,
            character_id=str(service.character_id(found.code)),
            character_code=found.code,
            character_name=found.name,
            character_type=found.type,
            character_dialog=found.dialog,
        )

    async def GetCharacterByMatch(  # noqa: N802
        self, request: pb.GetCharacterByMatchRequest, _context: object
    ) -> pb.GetCharacterByMatchResponse:
        found = service.of_class(self._knowledge, request.match_label)
        if found is None:
            return pb.GetCharacterByMatchResponse()
        return pb.GetCharacterByMatchResponse(
            found=True,
            character_name=found.name,
            character_type=found.type,
            character_dialog=found.dialog,
            match_label=found.match or "",
            character_code=found.code,
        )


def registers(db: Database, knowledge: Knowledge) -> Mapping[str, Register]:
    return {
        NAME: partial(add_CharacterServiceServicer_to_server, Characters(db, knowledge)),
        user_data.NAME: user_data_of(db, knowledge),
    }


def user_data_of(db: Database, knowledge: Knowledge) -> Register:
    """A copy has characters and the leaderboard on its first page, then the points, newest first."""

    async def export(user: UUID, cursor: str) -> tuple[user_data.Records, str]:
        lines = await store.history(db, user, service.place(cursor) if cursor else None, PAGE)
        first = [] if cursor else await _standing(db, knowledge, user)
        entries = [("points", {**vars(line), "id": str(line.id)}) for line in lines]
        last = lines[-1] if len(lines) == PAGE else None
        return [*first, *entries], cursors.encode(last.earned_at, str(last.id)) if last else ""

    async def purge(user: UUID) -> int:
        async with db.transaction() as tx:
            return await service.purge(tx, user)

    return user_data.register(export, purge)


async def _standing(db: Session, knowledge: Knowledge, user: UUID) -> user_data.Records:
    owned = await service.owned(db, knowledge, user)
    member = await store.member(db, user)
    characters = [
        {"code": row.character.code, "name": row.character.name, "acquired_at": row.acquired_at} for row in owned
    ]
    return [*(("characters", row) for row in characters), *([("leaderboard", vars(member))] if member else [])]
