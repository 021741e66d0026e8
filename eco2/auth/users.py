"""Users, requested from the users domain, the only one that stores them."""

from uuid import UUID

from grpc.aio import Channel

from eco2.auth.oauth import Profile
from eco2.contracts.pb import users_pb2 as pb
from eco2.contracts.pb.users_pb2_grpc import UsersServiceStub
from eco2.core.grpc import call


class Users:
    """Every method raises Unavailable when the service does not answer."""

    def __init__(self, channel: Channel) -> None:
        self._stub = UsersServiceStub(channel)

    async def find_or_create(self, profile: Profile, guest: UUID | None = None) -> UUID:
        """The account of this social account. Notes the sign-in, and the claim of the guest's data for this user.

        BadRequest for a profile that cannot be kept."""
        request = pb.GetOrCreateFromOAuthRequest(
            provider=profile.provider,
            provider_user_id=profile.provider_user_id,
            email=profile.email,
            nickname=profile.nickname,
            profile_image_url=profile.image_url,
            guest_id=str(guest) if guest else None,
        )
        answer = await call(self._stub.GetOrCreateFromOAuth, request)
        return UUID(answer.user.id)

    async def open_guest(self, user: UUID, seconds: int) -> None:
        """Make the account of a guest, which goes after so long. Repeated, nothing changes."""
        await call(self._stub.OpenGuest, pb.OpenGuestRequest(user_id=str(user), seconds=seconds))

    async def exists(self, user: UUID) -> bool:
        answer = await call(self._stub.GetUser, pb.GetUserRequest(user_id=str(user)))
        return answer.HasField("user")
