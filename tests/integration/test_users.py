"""UsersService of the running my-api."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.contracts.identity import guest_id
from eco2.contracts.pb import users_pb2 as pb
from eco2.contracts.pb.users_pb2_grpc import UsersServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest
from eco2.my.tables import accounts, social_accounts

if TYPE_CHECKING:
    from eco2.contracts.pb.users_pb2_grpc import UsersServiceAsyncStub


@pytest.fixture(scope="session")
async def users(environment: dict[str, str]) -> AsyncIterator["UsersServiceAsyncStub"]:
    async with grpc.channel(environment["ECO2_GRPC_MY_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        yield UsersServiceStub(channel)


def profile(**changes: str) -> pb.GetOrCreateFromOAuthRequest:
    known = {"provider": "kakao", "provider_user_id": uuid.uuid4().hex, "nickname": "초록", **changes}
    return pb.GetOrCreateFromOAuthRequest(**known)


async def test_a_first_sign_in_makes_a_user_and_the_next_one_finds_it(users: "UsersServiceAsyncStub") -> None:
    asked = profile(email="green@example.org", profile_image_url="https://img.example.org/1.png")
    first = await grpc.call(users.GetOrCreateFromOAuth, asked)
    assert first.is_new_user
    assert first.user.nickname == "초록"
    assert first.user.profile_image_url == "https://img.example.org/1.png"
    assert first.social_account.user_id == first.user.id
    assert first.social_account.email == "green@example.org"
    asked.nickname, asked.email = "changed at the provider", ""
    again = await grpc.call(users.GetOrCreateFromOAuth, asked)
    assert not again.is_new_user
    assert (again.user.id, again.user.nickname) == (first.user.id, "초록")
    assert again.social_account.email == "green@example.org"
    assert again.user.last_login_at.ToDatetime() > first.user.last_login_at.ToDatetime()
    found = await grpc.call(users.GetUser, pb.GetUserRequest(user_id=first.user.id))
    assert found.user == again.user


async def test_the_same_social_account_many_times_at_once_is_one_user(
    users: "UsersServiceAsyncStub", engine: AsyncEngine
) -> None:
    for _ in range(5):
        asked = profile()
        found = await asyncio.gather(*(grpc.call(users.GetOrCreateFromOAuth, asked) for _ in range(12)))
        assert len({row.user.id for row in found}) == 1
        assert [row.is_new_user for row in found].count(True) == 1
    async with engine.connect() as tx:
        owners = select(social_accounts.c.user_id)
        alone = select(func.count()).select_from(accounts).where(accounts.c.id.not_in(owners))
        alone = alone.where(accounts.c.guest_until.is_(None))
        assert await tx.scalar(alone) == 0


async def test_the_same_id_at_another_provider_is_somebody_else(users: "UsersServiceAsyncStub") -> None:
    same = uuid.uuid4().hex
    rows = [
        await grpc.call(users.GetOrCreateFromOAuth, profile(provider=provider, provider_user_id=same))
        for provider in ("google", "kakao", "naver")
    ]
    assert len({row.user.id for row in rows}) == 3


async def test_what_a_provider_tells_is_taken_as_far_as_it_fits(users: "UsersServiceAsyncStub") -> None:
    asked = profile(nickname=" \0 ", email="e" * 400, profile_image_url="h" * 3000)
    found = await grpc.call(users.GetOrCreateFromOAuth, asked)
    assert found.user.nickname.startswith("이코친구 ")
    assert not found.social_account.HasField("email")
    assert not found.user.HasField("profile_image_url")
    long = await grpc.call(users.GetOrCreateFromOAuth, profile(nickname="ㄱ" * 200))
    assert long.user.nickname == "ㄱ" * 120


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"provider": "github"}, "INVALID_PROVIDER"),
        ({"provider_user_id": " "}, "INVALID_PROFILE"),
        ({"provider_user_id": "x" * 256}, "INVALID_PROFILE"),
        ({"provider_user_id": "a\0"}, "INVALID_PROFILE"),
    ],
)
async def test_a_profile_that_identifies_nobody_is_refused(
    users: "UsersServiceAsyncStub", change: dict[str, str], code: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await grpc.call(users.GetOrCreateFromOAuth, profile(**change))
    assert caught.value.code == code


async def test_nobody_is_found_under_an_unknown_id_and_a_bad_one_is_refused(users: "UsersServiceAsyncStub") -> None:
    found = await grpc.call(users.GetUser, pb.GetUserRequest(user_id=str(uuid.uuid4())))
    assert not found.HasField("user")
    with pytest.raises(BadRequest) as caught:
        await grpc.call(users.GetUser, pb.GetUserRequest(user_id="me"))
    assert caught.value.code == "INVALID_USER_ID"


async def test_a_login_is_noted_on_the_pair_only(users: "UsersServiceAsyncStub") -> None:
    asked = profile()
    made = await grpc.call(users.GetOrCreateFromOAuth, asked)
    pair = {"user_id": made.user.id, "provider": "kakao", "provider_user_id": asked.provider_user_id}
    done = await grpc.call(users.UpdateLoginTime, pb.UpdateLoginTimeRequest(**pair))
    assert done.success
    found = await grpc.call(users.GetUser, pb.GetUserRequest(user_id=made.user.id))
    assert found.user.last_login_at.ToDatetime() > made.user.last_login_at.ToDatetime()
    for wrong in ({"provider": "naver"}, {"provider_user_id": "other"}, {"user_id": str(uuid.uuid4())}):
        done = await grpc.call(users.UpdateLoginTime, pb.UpdateLoginTimeRequest(**{**pair, **wrong}))
        assert not done.success


@pytest.mark.parametrize("seconds", [0, -1, 24 * 3600 + 1])
async def test_a_guest_lasts_a_day_at_most(users: "UsersServiceAsyncStub", seconds: int) -> None:
    with pytest.raises(BadRequest) as refused:
        await grpc.call(users.OpenGuest, pb.OpenGuestRequest(user_id=str(guest_id(uuid.uuid4())), seconds=seconds))
    assert refused.value.code == "INVALID_TIME"


async def test_a_guest_is_opened_once(users: "UsersServiceAsyncStub", engine: AsyncEngine) -> None:
    guest = guest_id(uuid.uuid4())
    await grpc.call(users.OpenGuest, pb.OpenGuestRequest(user_id=str(guest), seconds=60))
    until = select(accounts.c.guest_until).where(accounts.c.id == guest)
    async with engine.connect() as tx:
        first = await tx.scalar(until)
        await grpc.call(users.OpenGuest, pb.OpenGuestRequest(user_id=str(guest), seconds=3600))
        assert await tx.scalar(until) == first


async def test_the_account_of_somebody_is_no_guest(users: "UsersServiceAsyncStub") -> None:
    with pytest.raises(BadRequest):
        await grpc.call(users.OpenGuest, pb.OpenGuestRequest(user_id=str(uuid.uuid4()), seconds=60))
