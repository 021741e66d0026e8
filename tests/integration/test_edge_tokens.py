"""Tokens at the edge: carriers, several at once, keys that are retired or cannot be had, lives too long."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from eco2.contracts.identity import ACCESS_COOKIE, TOKEN_COPY_HEADERS
from tests.edge import (
    KEY,
    KID,
    ORIGIN,
    OTHER_KEY,
    Edge,
    Service,
    bearer,
    claims,
    hmac_token,
    is_error,
    plan,
    received,
    running_edge,
    serving,
    token,
    unsigned_token,
)
from tests.redis_server import until

PATH = "/api/v1/scan/categories"
FOREIGN = "http://evil.example"
OTHER_KID = "other-key"
NOTHING: dict[str, str] = {}


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("edge"), plan()) as running:
        yield running


def cookies(*values: str) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{ACCESS_COOKIE}={value}" for value in values)}


# Several tokens


def _bad_tokens() -> dict[str, str]:
    return {
        "empty": "",
        "garbage": "abc",
        "expired": token(exp=int(time.time()) - 60),
        "forged": token(OTHER_KEY),
        "key of an earlier backend": token(OTHER_KEY, kid="before"),
        "alg none": unsigned_token(),
        "HS256 with the public key": hmac_token(),
        "refresh token": token(aud="refresh", type="refresh"),
        "other issuer": token(iss="http://evil.example/auth"),
    }


@pytest.mark.parametrize("case", _bad_tokens())
@pytest.mark.parametrize("place", range(5))
async def test_each_cookie_of_the_name_is_tried_until_one_verifies(edge: Edge, case: str, place: int) -> None:
    values = [_bad_tokens()[case]] * 4
    values.insert(place, token(sub="the-good-one"))
    assert received(await edge.client.get(PATH, headers=cookies(*values)))["x-user-id"] == "the-good-one"


async def test_of_several_that_verify_the_first_counts(edge: Edge) -> None:
    """A browser sends the cookie of the longest path first."""
    values = [token(sub=f"user-{number}") for number in range(3)]
    assert received(await edge.client.get(PATH, headers=cookies("abc", *values)))["x-user-id"] == "user-0"
    assert received(await edge.client.get(PATH, headers=cookies(*reversed(values))))["x-user-id"] == "user-2"


async def test_cookies_are_found_however_they_are_sent(edge: Edge) -> None:
    good = token(sub="me")
    for lines in (
        [f"{ACCESS_COOKIE}=abc", f"{ACCESS_COOKIE}={good}"],
        [f'a=b;{ACCESS_COOKIE}="{good}" ; c=d'],
        [f"x{ACCESS_COOKIE}={token(sub='x')}; a={ACCESS_COOKIE}={token(sub='y')}; {ACCESS_COOKIE}={good}"],
        [";;=; =;" + f"{ACCESS_COOKIE}={good}"],
    ):
        response = await edge.client.get(PATH, headers=[("Cookie", line) for line in lines])
        assert received(response)["x-user-id"] == "me", lines


async def test_cookies_without_end_are_an_answer_all_the_same(edge: Edge) -> None:
    response = await edge.client.get(PATH, headers=cookies(*["a.b.c"] * 1500, token()))
    assert is_error(response, 401, "UNAUTHORIZED")


async def test_who_names_a_token_means_that_one(edge: Edge) -> None:
    mine, other = token(sub="me"), cookies(token(sub="other"))
    assert received(await edge.client.get(PATH, headers={**bearer(mine), **other}))["x-user-id"] == "me"
    response = await edge.client.get(PATH, headers={**bearer(token(exp=int(time.time()) - 60)), **other})
    assert is_error(response, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer "])
async def test_the_scheme_is_read_in_any_case(edge: Edge, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token(sub='me')}", "Origin": FOREIGN}
    assert received(await edge.client.post("/api/v1/scan", headers=headers))["x-user-id"] == "me"


@pytest.mark.parametrize("path", ["/api/v1/auth/refresh", PATH])
async def test_no_service_sees_the_copies_and_no_client_makes_them(edge: Edge, path: str) -> None:
    spoofed = dict.fromkeys(TOKEN_COPY_HEADERS, token(sub="spoofed"))
    for sent in (bearer(token(sub="me")), cookies("abc", token(sub="me"))):
        headers = received(await edge.client.get(path, headers={**spoofed, **sent}))
        assert not headers.keys() & {*TOKEN_COPY_HEADERS, "x-auth-scheme"}
        assert headers.get("x-user-id", "me") == "me"
    assert (await edge.client.get(PATH, headers=spoofed)).status_code == 401


# Cross-origin pages


@pytest.mark.parametrize(
    "value",
    ["x", "Basic dXNlcjpwYXNz", "Digest a.b.c", "Negotiate a.b.c", "Bearer", "Bearer undefined", "BearerX a.b.c"],
)
async def test_only_a_bearer_token_stands_for_the_page(edge: Edge, value: str) -> None:
    headers = {**cookies(token()), "Authorization": value}
    response = await edge.client.post("/api/v1/scan", headers={**headers, "Origin": FOREIGN})
    assert is_error(response, 400, "ORIGIN_NOT_ALLOWED")
    assert (await edge.client.post("/api/v1/scan", headers={**headers, "Origin": ORIGIN})).status_code == 200


async def test_a_bearer_token_that_does_not_verify_stands_for_nothing(edge: Edge) -> None:
    for value in (token(OTHER_KEY), unsigned_token(), "a.b.c"):
        response = await edge.client.post(
            "/api/v1/scan", headers={**cookies(token()), **bearer(value), "Origin": FOREIGN}
        )
        assert is_error(response, 401, "UNAUTHORIZED")
    two = [("Authorization", f"Bearer {token(OTHER_KEY)}"), ("Authorization", f"Bearer {token(OTHER_KEY)}")]
    response = await edge.client.post("/api/v1/scan", headers=[*two, *cookies(token()).items(), ("Origin", FOREIGN)])
    assert is_error(response, 400, "ORIGIN_NOT_ALLOWED")


# Lives


def _long_lives() -> dict[str, str]:
    now, day = int(time.time()), 24 * 3600
    return {
        "ten years": token(exp=now + 3650 * day),
        "a day and an hour": token(exp=now + day + 3600),
        "near its end": token(iat=now - 30 * day, nbf=now - 30 * day, exp=now + 600),
        "made in the future": token(iat=now + 3650 * day, exp=now + 3650 * day + 600),
        "without a beginning": jwt.encode(
            {name: value for name, value in claims().items() if name != "iat"}, KEY, "RS256", headers={"kid": KID}
        ),
        "with a text as its beginning": token(iat="now"),
    }


@pytest.mark.parametrize("case", _long_lives())
async def test_a_token_that_lives_over_a_day_is_none_whoever_signed_it(edge: Edge, case: str) -> None:
    response = await edge.client.get(PATH, headers=bearer(_long_lives()[case]))
    assert is_error(response, 401, "UNAUTHORIZED")


async def test_a_token_of_a_day_is_good(edge: Edge) -> None:
    now = int(time.time())
    assert (await edge.client.get(PATH, headers=bearer(token(iat=now, exp=now + 86_400)))).status_code == 200


# Keys


async def test_a_retired_key_ends_also_for_tokens_that_the_edge_has_seen(tmp_path: Path) -> None:
    at = plan()
    assert at.text.count("cache_duration: 60s") == 1
    quick = replace(at, text=at.text.replace("cache_duration: 60s", "cache_duration: 1s"))
    async with running_edge(tmp_path, quick) as edge:
        old, published = token(), edge.services["auth-api.auth"].published
        for _ in range(3):
            assert (await edge.client.get(PATH, headers=bearer(old))).status_code == 200
        published[OTHER_KID] = OTHER_KEY
        del published[KID]

        async def refused() -> bool:
            return (await edge.client.get(PATH, headers=bearer(old))).status_code == 401

        await until(refused, 10)
        assert (await edge.client.get(PATH, headers=bearer(token(OTHER_KEY, kid=OTHER_KID)))).status_code == 200


@pytest.mark.parametrize("how", ["frozen", "gone"])
async def test_an_edge_without_keys_signs_nobody_out(tmp_path: Path, how: str) -> None:
    """It has restarted, and auth-api, which has them, does not answer."""
    at = plan()
    at = replace(at, text=at.text.replace("timeout: 2s", "timeout: 0.5s"))
    with socket.socket() as held:
        held.bind(("127.0.0.1", at.ports["auth-api.auth"]))
        if how == "frozen":
            held.listen()
        async with running_edge(tmp_path, at, without="auth-api.auth") as edge:
            good = (bearer(), cookies(token()), cookies("abc", token()), cookies(token(), token(iss="before")))
            answers = await asyncio.gather(*(edge.client.get(PATH, headers={**one, "Origin": ORIGIN}) for one in good))
            for response in answers:
                assert is_error(response, 503, "UNAVAILABLE")
                assert (response.headers["retry-after"], response.headers["access-control-allow-origin"]) == (
                    "2",
                    ORIGIN,
                )
            for headers in (cookies("abc"), bearer(token(exp=1)), bearer(token(iss="http://evil.example")), NOTHING):
                assert is_error(await edge.client.get(PATH, headers=headers), 401, "UNAUTHORIZED")
            held.close()
            async with serving(Service("auth-api.auth"), at.ports["auth-api.auth"]):

                async def back() -> bool:
                    return (await edge.client.get(PATH, headers=bearer())).status_code == 200

                await until(back, 20)
                assert is_error(await edge.client.get(PATH, headers=bearer(token(OTHER_KEY))), 401, "UNAUTHORIZED")
