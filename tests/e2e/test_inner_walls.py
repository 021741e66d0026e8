"""A caller that reaches a service without passing the edge is not believed, whatever it says about itself."""

import uuid
from collections.abc import Callable

import grpc
import httpx2
import pytest

from eco2.contracts.pb import auth_pb2, job_state_pb2, user_data_pb2, users_pb2
from eco2.contracts.pb.auth_pb2_grpc import SessionServiceStub
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceStub
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.contracts.pb.users_pb2_grpc import UsersServiceStub
from eco2.local.stack import Stack
from tests.conftest import Person

People = Callable[[], Person]
USER = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("scan-api", "/api/v1/users/me/scans"),
        ("my-api", "/api/v1/users/me"),
        ("character-api", "/api/v1/users/me/characters"),
        ("sse-gateway", f"/api/v1/scan/{uuid.uuid4()}/events"),
    ],
)
async def test_identity_headers_of_a_neighbour_are_no_identity(stack: Stack, service: str, path: str) -> None:
    headers = {"x-user-id": USER, "x-session-id": "any", "x-user-role": "operator", "x-auth-provider": "kakao"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{stack.layout.port_of(service)}") as neighbour:
        assert (await neighbour.get(path, headers=headers)).status_code == 401


KEEP_DATA = ("SCAN", "IMAGE", "CHARACTER", "AUTH")
CALLS = [
    ("MY", UsersServiceStub, "GetUser", users_pb2.GetUserRequest(user_id=USER)),
    ("MY", UsersServiceStub, "GetOrCreateFromOAuth", users_pb2.GetOrCreateFromOAuthRequest(provider="kakao")),
    ("AUTH", SessionServiceStub, "RevokeAll", auth_pb2.RevokeAllRequest(user_id=USER)),
    ("SCAN", JobStateServiceStub, "Get", job_state_pb2.GetJobStatesRequest(job_ids=[USER])),
    *((name, UserDataServiceStub, "Export", user_data_pb2.ExportRequest(user_id=USER)) for name in KEEP_DATA),
    *((name, UserDataServiceStub, "Purge", user_data_pb2.PurgeRequest(user_id=USER)) for name in KEEP_DATA),
]


@pytest.mark.parametrize(("name", "stub", "method", "request_"), CALLS, ids=lambda value: str(value)[:12])
async def test_calls_of_a_neighbour_are_refused(
    environment: dict[str, str], name: str, stub: type, method: str, request_: object
) -> None:
    async with grpc.aio.insecure_channel(environment[f"ECO2_GRPC_{name}_API"]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await getattr(stub(channel), method)(request_, metadata=[("x-user-id", USER)])
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_client_cannot_bring_a_proof_through_the_edge(person: People) -> None:
    """Identity headers of a client are replaced by those of its token."""
    one, other = person(), person()
    headers = {"x-identity-proof": "mine", "x-user-id": str(other.id)}
    assert (await one.http.get("/api/v1/users/me/scans", headers=headers)).json()["scans"] == []
