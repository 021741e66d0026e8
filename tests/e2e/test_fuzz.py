"""Every route of the API document is asked nonsense, through the edge: no answer is a 5xx, and errors have our shape.

What would end the fuzzing itself, or never ends, is left out: streams, logout, deleting the account.
"""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.local.stack import Stack
from tests.conftest import GATEWAY_PORT

DOCUMENT = orjson.loads((Path(__file__).parents[2] / "docs/api/openapi.json").read_bytes())
LEFT_OUT = {
    ("GET", "/api/v1/{service}/{job_id}/events"),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/logout/all"),
    ("DELETE", "/api/v1/auth/sessions/{session_id}"),
    ("DELETE", "/api/v1/users/me"),
    # Waits 30 s for a worker by contract.
    ("POST", "/api/v1/scan/classify"),
    # A minute.
    ("POST", "/api/v1/chat/messages"),
}
SECONDS = 30
api = schemathesis.openapi.from_dict(DOCUMENT).exclude(
    lambda context: (context.operation.method.upper(), context.operation.path) in LEFT_OUT
)


@pytest.fixture(scope="module")
def mint(stack: Stack) -> Callable[[], str]:
    layout = stack.layout
    tokens = TokenSettings(signing_keys_dir=layout.folder("keys"), issuer=f"{layout.public_url}/api/v1/auth")
    return lambda: keys.mint(tokens, uuid.uuid4(), "local")


@pytest.fixture(scope="module")
def token(mint: Callable[[], str]) -> str:
    return mint()


@pytest.fixture(scope="module")
def tokens(mint: Callable[[], str]) -> Iterator[str]:
    """Of so many users that none of them meets a limit of one user."""
    return itertools.cycle([mint() for _ in range(30)])


async def ask(case: "Case[Any]", token: str) -> None:
    """In a thread: the loop of the tests supervises the stack, and reads its logs, or the services wait for ever."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{GATEWAY_PORT}"
    response = await asyncio.to_thread(case.call, base_url=url, headers=headers, timeout=SECONDS, allow_redirects=False)
    assert response.status_code < 500, case.as_curl_command()
    if response.status_code >= 400:
        body: dict[str, Any] = orjson.loads(response.content)
        # `errors` of a body in a wrong form; `error` of RFC 6749, where native apps get their tokens.
        assert {"detail", "code"} <= body.keys() <= {"detail", "code", "errors", "error"}, case.as_curl_command()
        assert isinstance(body["detail"], str)
        assert response.status_code != 403, "403 is for revoked sessions only"


_few = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
_many = settings(_few, max_examples=300, derandomize=False)


@api.parametrize()
@_few
async def test_nonsense_is_refused_not_failed(case: "Case[Any]", token: str) -> None:
    await ask(case, token)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@api.parametrize()
@_many
async def test_much_nonsense_is_refused_not_failed(case: "Case[Any]", tokens: Iterator[str]) -> None:
    await ask(case, next(tokens))


HALF = "\\ud83d"  # half an emoji, as a cut in JavaScript leaves it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/images/scan", f'{{"filename": "{HALF}.jpg", "content_type": "image/jpeg"}}'),
        ("/api/v1/scan", f'{{"image_url": "x", "user_input": "{HALF}"}}'),
        ("/api/v1/waste/analyze", f'{{"user_input": "{HALF}"}}'),
        (f"/api/v1/scan/{uuid.uuid4()}/choice", f'{{"minor_category": "{HALF}"}}'),
        (f"/api/v1/scan/{uuid.uuid4()}/feedback", f'{{"verdict": "right", "comment": "{HALF}"}}'),
        ("/api/v1/recycling/ask", f'{{"question": "병", "district": "{HALF}"}}'),
    ],
)
async def test_half_an_emoji_is_refused_in_every_text(token: str, path: str, body: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{GATEWAY_PORT}", headers=headers) as client:
        answer = await client.post(path, content=body.encode())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR"), answer.text
