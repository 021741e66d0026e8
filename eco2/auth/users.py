"""The people: asked of the users domain, which alone keeps them."""

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

    async def find_or_create(self, profile: Profile) -> UUID:
        """The account of this social account. Notes the sign-in. BadRequest for a profile that cannot be kept."""
        request = pb.GetOrCreateFromOAuthRequest(
            provider=profile.provider,
            provider_user_id=profile.provider_user_id,
            email=profile.email,
            nickname=profile.nickname,
            profile_image_url=profile.image_url,
        )
        answer = await call(self._stub.GetOrCreateFromOAuth, request)
        return UUID(answer.user.id)

    async def exists(self, user: UUID) -> bool:
        answer = await call(self._stub.GetUser, pb.GetUserRequest(user_id=str(user)))
        return answer.HasField("user")
