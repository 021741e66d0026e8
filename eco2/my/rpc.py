"""UsersService over gRPC, which auth-api calls at a sign-in."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from eco2.contracts.pb import users_pb2 as pb
from eco2.contracts.pb.users_pb2_grpc import UsersServiceServicer, add_UsersServiceServicer_to_server
from eco2.core.grpc import Register, uuid_of
from eco2.core.postgres import Database
from eco2.my import service, store

NAME = "eco2.users.v1.UsersService"
BAD_ID = "INVALID_USER_ID"


class Users(UsersServiceServicer):
    def __init__(self, db: Database, told: Callable[[], None], keepers: Sequence[str]) -> None:
        self._db = db
        self._told = told
        self._keepers = keepers

    async def GetOrCreateFromOAuth(  # noqa: N802 - names of the protocol, here and below
        self,
        request: pb.GetOrCreateFromOAuthRequest,
        _context: object,
    ) -> pb.GetOrCreateFromOAuthResponse:
        guest = uuid_of(request.guest_id, BAD_ID) if request.HasField("guest_id") else None
        async with self._db.transaction() as tx:
            account, social, new = await service.sign_in(
                tx,
                request.provider,
                request.provider_user_id,
                request.email or None,
                request.nickname or None,
                request.profile_image_url or None,
                guest,
                self._keepers,
            )
        self._told()
        return pb.GetOrCreateFromOAuthResponse(
            user=_user(account), social_account=_social_account(social), is_new_user=new
        )

    async def GetUser(  # noqa: N802
        self, request: pb.GetUserRequest, _context: object
    ) -> pb.GetUserResponse:
        user = uuid_of(request.user_id, BAD_ID)
        account = await store.find(self._db, user)
        return pb.GetUserResponse(user=_user(account) if account else None)

    async def OpenGuest(  # noqa: N802
        self, request: pb.OpenGuestRequest, _context: object
    ) -> pb.OpenGuestResponse:
        await service.open_guest(self._db, uuid_of(request.user_id, BAD_ID), request.seconds)
        return pb.OpenGuestResponse()

    async def UpdateLoginTime(  # noqa: N802
        self,
        request: pb.UpdateLoginTimeRequest,
        _context: object,
    ) -> pb.UpdateLoginTimeResponse:
        user, provider = uuid_of(request.user_id, BAD_ID), service.checked_provider(request.provider)
        async with self._db.transaction() as tx:
            done = await store.logged_in(tx, user, provider, request.provider_user_id)
        return pb.UpdateLoginTimeResponse(success=done)


def register(db: Database, told: Callable[[], None], keepers: Sequence[str]) -> Register:
    """`told` is called when the outbox may have something new; `keepers` are the services that keep data of people."""
    return partial(add_UsersServiceServicer_to_server, Users(db, told, keepers))


def _user(account: store.Account) -> pb.User:
    return pb.User(
        id=str(account.id),
        nickname=account.nickname,
        profile_image_url=account.profile_image_url,
        phone_number=account.phone_number,
        created_at=_time(account.created_at),
        updated_at=_time(account.updated_at),
        last_login_at=_time(account.last_login_at),
    )


def _social_account(social: store.SocialAccount) -> pb.SocialAccount:
    return pb.SocialAccount(
        id=str(social.id),
        user_id=str(social.user_id),
        provider=social.provider,
        provider_user_id=social.provider_user_id,
        email=social.email,
        created_at=_time(social.created_at),
        last_login_at=_time(social.last_login_at),
    )


def _time(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    found = Timestamp()
    found.FromDatetime(value)
    return found
