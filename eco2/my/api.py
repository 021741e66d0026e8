"""Routes of my-api, served under /users. Characters and scans of a user are served by the services that own them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from eco2.core import cookies
from eco2.core.app import AnyUser, BadUser, MissingUser, Text, User, error_responses, opened
from eco2.core.errors import TooMany, Unavailable
from eco2.core.turns import PerMinute
from eco2.my import export, service
from eco2.my.outbox import Services
from eco2.my.store import Account

router = APIRouter(prefix="/api/v1/users/me", tags=["users"])

At = Annotated[Services, opened(Services)]

_ERRORS = (MissingUser, BadUser, service.UserNotFound)
Language = Literal["ko", "en"]


class Profile(BaseModel):
    username: Annotated[str, Field(description="The same as display_name", examples=["초록"])]
    display_name: Annotated[str, Field(examples=["초록"])]
    nickname: Annotated[str, Field(examples=["초록"])]
    phone_number: Annotated[str | None, Field(description="11 digits", examples=["01012345678"])]
    provider: Annotated[str, Field(description="Of this session", examples=["kakao"])]
    role: Annotated[
        str, Field(description="Of this session: citizen, guest, steward or operator", examples=["citizen"])
    ]
    last_login_at: Annotated[datetime | None, Field(examples=["2026-11-22T09:30:00Z"])]
    profile_image_url: Annotated[str | None, Field(examples=[None])]
    language: Annotated[Language, Field(examples=["ko"])]
    district: Annotated[str | None, Field(examples=["서울특별시 마포구"])]


@dataclass(frozen=True)
class SessionHeaders:
    """Identity headers that ext-authz wrote, besides the user."""

    provider: str | None
    role: str


def _session(
    x_auth_provider: Annotated[str | None, Header(include_in_schema=False)] = None,
    x_user_role: Annotated[str, Header(include_in_schema=False)] = "citizen",
) -> SessionHeaders:
    return SessionHeaders(x_auth_provider, x_user_role)


def _no_default(schema: dict[str, Any]) -> None:
    """A field that may be left out and has no null: its default is never used, and says nothing to clients."""
    del schema["default"]


class ProfileChange(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"nickname": "초록"}, {"phone_number": "010-1234-5678"}]})

    nickname: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=service.NICKNAME_LENGTH, pattern=r"^[^\x00]*$"
        ),
        Field(json_schema_extra=_no_default),
    ] = ""
    phone_number: Annotated[
        Text | None, Field(max_length=40, description="A Korean mobile number; null removes it")
    ] = None


class Preferences(BaseModel):
    language: Annotated[Language, Field(examples=["ko"])]
    district: Annotated[
        str | None, Field(description="District in which you put out waste", examples=["서울특별시 마포구"])
    ]


class PreferencesChange(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"language": "en", "district": "서울특별시 마포구"}]})

    language: Annotated[Language, Field(json_schema_extra=_no_default)] = "ko"
    district: Annotated[
        Text | None,
        Field(max_length=100, description="One of GET /api/v1/character/districts; null: none in particular"),
    ] = None


@router.get(
    "", operation_id="getProfile", response_model=Profile, summary="Your profile", responses=error_responses(*_ERRORS)
)
async def me(user: AnyUser, at: At, session: Annotated[SessionHeaders, Depends(_session)]) -> Profile:
    account = await service.find(at.db, user)
    return _profile(account, await service.provider_of(at.db, user, session.provider), session.role)


@router.patch(
    "",
    operation_id="updateProfile",
    response_model=Profile,
    summary="Change your profile",
    responses=error_responses(*_ERRORS, service.NicknameRefused, service.NoChanges, service.BadPhoneNumber, TooMany),
)
async def change(
    body: ProfileChange,
    user: User,
    at: At,
    session: Annotated[SessionHeaders, Depends(_session)],
) -> Profile:
    _count(at.changes, user)
    async with at.db.transaction() as tx:
        account = await service.change(tx, user, body.model_dump(exclude_unset=True))
        return _profile(account, await service.provider_of(tx, user, session.provider), session.role)


@router.delete(
    "",
    operation_id="deleteAccount",
    status_code=204,
    summary="Delete your account",
    responses=error_responses(*_ERRORS),
)
async def leave(user: User, at: At) -> Response:
    """Signs you out everywhere and takes the cookies back.

    Signing in again within 30 days restores the account, without its reminders; then all data is removed.
    """
    async with at.db.transaction() as tx:
        await service.leave(tx, user, at.outbox.others.data)
    at.outbox.ring()
    response = Response(status_code=204)
    cookies.forget(response, at.cookie_domain)
    return response


@router.get(
    "/preferences",
    operation_id="getPreferences",
    response_model=Preferences,
    summary="Your preferences",
    responses=error_responses(*_ERRORS),
)
async def preferences(user: AnyUser, at: At) -> Preferences:
    return _preferences(await service.find(at.db, user))


@router.patch(
    "/preferences",
    operation_id="updatePreferences",
    response_model=Preferences,
    summary="Change your preferences",
    responses=error_responses(*_ERRORS, service.NoChanges, service.DistrictUnknown, TooMany),
)
async def prefer(body: PreferencesChange, user: AnyUser, at: At) -> Preferences:
    """Scans that you submit a moment later are answered in that language, and by the rules of that district."""
    _count(at.changes, user)
    async with at.db.transaction() as tx:
        account = await service.prefer(tx, at.districts, user, body.model_dump(exclude_unset=True))
    at.outbox.ring()
    return _preferences(account)


class Exported(BaseModel):
    """Everything that is kept about you; besides `account`, a list for each kind of record."""

    model_config = ConfigDict(extra="allow")

    exported_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]
    account: Annotated[dict[str, Any], Field(examples=[{"id": "7a1f5b52-9d3c-4c1e-8f7a-2b6d0c9e4f10"}])]


@router.get(
    "/export",
    operation_id="exportData",
    response_model=Exported,
    summary="A copy of all your data",
    responses=error_responses(*_ERRORS, TooMany, Unavailable),
)
async def export_all(user: User, at: At) -> StreamingResponse:
    """Limited to some a minute; a 429 has the seconds until the next one in `Retry-After`."""
    _count(at.exports, user)
    account = await export.account(at.db, user)
    pages = await export.first_pages(at.outbox.others.data, user)
    headers = {"Content-Disposition": 'attachment; filename="eco2-export.json"', "Cache-Control": "no-store"}
    return StreamingResponse(export.write(account, pages, user), headers=headers, media_type="application/json")


def _count(times: PerMinute, user: UUID) -> None:
    """TooMany."""
    if wait := times.take(user):
        raise TooMany(retry_after=wait)


def _profile(account: Account, provider: str, role: str) -> Profile:
    name = account.nickname or account.name or service.default_nickname(account.id)
    return Profile(
        username=name,
        display_name=name,
        nickname=name,
        phone_number=account.phone_number,
        provider=provider,
        role=role,
        last_login_at=account.last_login_at,
        profile_image_url=account.profile_image_url,
        language=account.language,
        district=account.district,
    )


def _preferences(account: Account) -> Preferences:
    return Preferences(language=account.language, district=account.district)
