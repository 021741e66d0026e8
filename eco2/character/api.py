"""Routes of character-api."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from eco2.character import leaderboard, service, store
from eco2.character.leaderboard import Period
from eco2.character.points import Reason
from eco2.character.service import Services
from eco2.core.app import BadUser, MissingUser, Text, User, any_user, error_responses, opened
from eco2.core.cursors import BadCursor

router = APIRouter(prefix="/api/v1", tags=["characters"])

At = Annotated[Services, opened(Services)]

District = Annotated[str, Field(examples=["서울특별시 금천구"])]


class CatalogueEntry(BaseModel):
    name: Annotated[str, Field(examples=["페티"])]
    type: Annotated[str, Field(examples=["무색페트병"])]
    dialog: Annotated[str, Field(examples=["라벨을 떼고 꾹 누른 다음 뚜껑을 닫아 주세요!"])]
    match: Annotated[str | None, Field(description="Middle class that earns it", examples=["무색페트병"])]


class OwnedCharacter(BaseModel):
    id: Annotated[UUID, Field(examples=["2f0e6c1d-53a1-5b1e-9a40-7c8d1e2f3a4b"])]
    code: Annotated[str, Field(examples=["char-petty"])]
    name: Annotated[str, Field(examples=["페티"])]
    type: Annotated[str, Field(examples=["무색페트병"])]
    dialog: Annotated[str, Field(examples=["라벨을 떼고 꾹 누른 다음 뚜껑을 닫아 주세요!"])]
    acquired_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


class Ownership(BaseModel):
    character_name: Annotated[str, Field(examples=["페티"])]
    owned: Annotated[bool, Field(examples=[True])]


_USER_ERRORS = (MissingUser, BadUser)
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Unchanged since the answer with that ETag"}}


@router.get(
    "/character/catalog",
    operation_id="listCharacters",
    response_model=list[CatalogueEntry],
    dependencies=[any_user],
    summary="All characters",
    responses={**_UNCHANGED, **error_responses(*_USER_ERRORS)},
)
async def catalogue(request: Request, at: At) -> Response:
    """Changes only with a release: send `If-None-Match` with the `ETag`."""
    return at.catalogue.answer(request)


@router.get(
    "/character/districts",
    operation_id="listLeaderboardDistricts",
    response_model=list[District],
    dependencies=[any_user],
    summary="The districts that have a leaderboard",
    responses={**_UNCHANGED, **error_responses(*_USER_ERRORS)},
)
async def districts(request: Request, at: At) -> Response:
    return at.district_names.answer(request)


@router.get(
    "/users/me/characters",
    operation_id="listOwnedCharacters",
    response_model=list[OwnedCharacter],
    summary="The characters that you own",
    responses=error_responses(*_USER_ERRORS),
)
async def owned(user: User, at: At) -> list[OwnedCharacter]:
    """Oldest first. A character appears within seconds of the scan that earned it."""
    rows = await service.owned(at.db, at.knowledge, user)
    return [
        OwnedCharacter(
            id=row.id,
            code=row.character.code,
            name=row.character.name,
            type=row.character.type,
            dialog=row.character.dialog,
            acquired_at=row.acquired_at,
        )
        for row in rows
    ]


@router.get(
    "/users/me/characters/{name}/ownership",
    operation_id="getCharacterOwnership",
    response_model=Ownership,
    summary="Your ownership of a character",
    responses=error_responses(*_USER_ERRORS, service.CharacterNotFound),
)
async def ownership(name: Annotated[str, Path(max_length=100)], user: User, at: At) -> Ownership:
    return Ownership(character_name=name, owned=await service.owns(at.db, at.knowledge, user, name))


# --- points -----------------------------------------------------------------------------------------------------------


class PointsEntry(BaseModel):
    job_id: Annotated[UUID, Field(description="The scan", examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    amount: Annotated[int, Field(ge=0, examples=[10])]
    reason: Annotated[
        Reason,
        Field(
            description="`scan`: it earned points. It earned none: `seen_before`, you have shown this photo already; "
            "`seen_today`, another user has today; `daily_cap`, the day's points are earned",
            examples=["scan"],
        ),
    ]
    character_name: Annotated[str | None, Field(examples=["페티"])]
    earned_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


class StreakDays(BaseModel):
    current: Annotated[int, Field(description="Days in a row with points, up to today or yesterday", examples=[3])]
    longest: Annotated[int, Field(examples=[12])]


class PointsAccount(BaseModel):
    balance: Annotated[int, Field(examples=[320])]
    today: Annotated[int, Field(description="Earned today, in Korea", examples=[20])]
    daily_cap: Annotated[int, Field(description="The most that a day gives", examples=[100])]
    streak: StreakDays
    history: Annotated[list[PointsEntry], Field(description="Newest first")]
    next_cursor: Annotated[
        str | None, Field(description="`cursor` of the next page; null on the last", examples=[None])
    ]


@router.get(
    "/users/me/points",
    operation_id="getPoints",
    response_model=PointsAccount,
    summary="Your points, your streak, and the ledger",
    responses=error_responses(*_USER_ERRORS, BadCursor),
)
async def points(
    user: User,
    at: At,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> PointsAccount:
    found = await service.account(at.db, user, cursor, limit, datetime.now(UTC))
    return PointsAccount(
        balance=found.balance,
        today=found.today,
        daily_cap=at.settings.points_daily_cap,
        streak=StreakDays(current=found.streak.current, longest=found.streak.longest),
        history=[_entry(at, line) for line in found.lines],
        next_cursor=found.cursor,
    )


def _entry(at: Services, line: store.Line) -> PointsEntry:
    character = service.by_code(at.knowledge).get(line.character_code)
    return PointsEntry(
        job_id=line.job_id,
        amount=line.amount,
        reason=line.reason,
        character_name=character.name if character else None,
        earned_at=line.earned_at,
    )


# --- leaderboard ------------------------------------------------------------------------------------------------------


class Participation(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"nickname": "분리배출왕", "district": "서울 금천구"}]})

    nickname: Annotated[Text, Field(max_length=100, description="2 to 20 characters; public")]
    district: Annotated[Text, Field(max_length=100, description="One of GET /api/v1/character/districts")]


class Membership(BaseModel):
    joined: Annotated[bool, Field(examples=[True])]
    nickname: Annotated[str | None, Field(examples=["분리배출왕"])] = None
    district: Annotated[str | None, Field(examples=["서울특별시 금천구"])] = None
    joined_at: Annotated[datetime | None, Field(examples=["2026-11-22T09:30:00Z"])] = None


class Rank(BaseModel):
    rank: Annotated[int, Field(ge=1, examples=[1])]
    nickname: Annotated[str, Field(examples=["분리배출왕"])]
    points: Annotated[int, Field(examples=[320])]
    you: Annotated[bool, Field(examples=[False])]


class Leaderboard(BaseModel):
    district: District
    period: Annotated[Period, Field(examples=["month"])]
    since: Annotated[
        datetime | None, Field(description="Null: from the beginning", examples=["2026-11-01T00:00:00+09:00"])
    ]
    members: Annotated[int | None, Field(description="Null: too few members to show", examples=[12])]
    entries: Annotated[list[Rank], Field(description="Most points first; members with points, and you")]


@router.get(
    "/users/me/leaderboard",
    operation_id="getLeaderboardMembership",
    response_model=Membership,
    summary="Your membership of a leaderboard",
    responses=error_responses(*_USER_ERRORS),
)
async def membership(user: User, at: At) -> Membership:
    return _membership(await store.member(at.db, user))


@router.put(
    "/users/me/leaderboard",
    operation_id="joinLeaderboard",
    response_model=Membership,
    summary="Join the leaderboard of a district",
    responses=error_responses(
        *_USER_ERRORS, leaderboard.NicknameRefused, leaderboard.NicknameTaken, leaderboard.DistrictUnknown
    ),
)
async def join(body: Participation, user: User, at: At) -> Membership:
    """Membership is optional. A repeated call changes the nickname or the district."""
    return _membership(await leaderboard.join(at.db, at.districts, user, body.nickname, body.district))


@router.delete(
    "/users/me/leaderboard",
    operation_id="leaveLeaderboard",
    status_code=204,
    summary="Leave the leaderboard",
    responses=error_responses(*_USER_ERRORS),
)
async def leave(user: User, at: At) -> None:
    """Your nickname and district are forgotten; your points stay."""
    await store.leave(at.db, user)


def _membership(member: store.Member | None) -> Membership:
    if member is None:
        return Membership(joined=False)
    return Membership(joined=True, nickname=member.nickname, district=member.district, joined_at=member.joined_at)


@router.get(
    "/character/leaderboard",
    operation_id="getLeaderboard",
    response_model=Leaderboard,
    summary="The leaderboard of a district",
    responses=error_responses(*_USER_ERRORS, leaderboard.DistrictRequired, leaderboard.DistrictUnknown),
)
async def board(
    user: User,
    at: At,
    district: Annotated[str | None, Query(max_length=100, description="Default: yours")] = None,
    period: Period = "month",
) -> Leaderboard:
    """Shows members only, if there are enough of them; no ids."""
    min_members = at.settings.leaderboard_min_members
    found = await leaderboard.board(at.db, at.districts, user, district, period, datetime.now(UTC), min_members)
    return Leaderboard.model_validate(asdict(found))
