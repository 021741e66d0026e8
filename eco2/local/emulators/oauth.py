"""A stand-in for Kakao, Google and Naver: consent page, tokens and profiles on loopback, as slow or faulty as told.

    python -m eco2.local.emulators.oauth --port 10046

`/{provider}/authorize` shows the page, `/{provider}/token` and `/{provider}/profile` answer in that provider's own
format. `POST /_control` takes `{provider: Behaviour}` ("*" for those not named) and replaces what was set;
`GET /_calls` counts the requests of each step. The page signs in as any user: it is for the local stack
and the tests, and auth-api refuses to use it elsewhere. Pages of other sites are refused (`guard`).
"""

import asyncio
import hashlib
import html
import secrets
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from eco2.local import config
from eco2.local.config import Layout
from eco2.local.emulators import running
from eco2.local.supervisor import Unit

NAME = "oauth-emulator"
CODE_SECONDS = 60
ENDLESS_SECONDS = 60
PROVIDERS = {"kakao": "카카오", "google": "Google", "naver": "네이버"}
Json = dict[str, Any]
Fault = Literal["error", "refuse", "garbage", "hang", "empty", "endless", "bomb", "deep", "list", "odd"]
"""`endless`: a body that does not stop. `bomb`: a few kilobytes that unpack to 128 MB. `deep`: 50,000 brackets. `odd`:
fields of other types than documented; a profile still has its id."""


class User(BaseModel):
    """A person at a provider; the same name is always the same person there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=40)
    email: str | None = None
    image: str | None = None

    def id(self, provider: str) -> str:
        digest = hashlib.sha256(f"{provider}:{self.name}".encode()).hexdigest()
        numbers = {"kakao": str(zlib.crc32(digest.encode())), "google": str(int(digest[:17], 16)).zfill(21)[-21:]}
        return numbers.get(provider, digest[:43])


USERS = (
    User(name="김하늘", email="sky@example.com", image="https://images.example.com/sky.png"),
    User(name="이바다", email="sea@example.com"),
    User(name="박산"),
)


class Behaviour(BaseModel):
    """`token` and `profile`: the fault of that step. `seconds`: the time of both. `users`: the names offered."""

    model_config = ConfigDict(extra="forbid")

    token: Fault | None = None
    profile: Fault | None = None
    seconds: float = Field(default=0, ge=0)
    users: tuple[User, ...] = USERS


_CONTROL = TypeAdapter(dict[str, Behaviour])


@dataclass(frozen=True)
class Grant:
    """The sign-in that a code stands for."""

    user: User
    provider: str
    client_id: str
    redirect_uri: str
    challenge: str | None
    state: str
    until: float


class Refused(Exception):
    """Answered in the provider's way."""


# What each provider says, in its own words.


def _profile(provider: str, user: User) -> Json:
    if provider == "kakao":
        profile = {"nickname": user.name, **({"profile_image_url": user.image} if user.image else {})}
        email = {"email": user.email, "is_email_valid": True, "is_email_verified": True} if user.email else {}
        return {"id": int(user.id(provider)), "kakao_account": {"profile": profile, **email}}
    if provider == "google":
        email = {"email": user.email, "email_verified": True} if user.email else {}
        picture = {"picture": user.image} if user.image else {}
        return {"sub": user.id(provider), "name": user.name, "given_name": user.name, **email, **picture}
    found = {"id": user.id(provider), "nickname": user.name, "email": user.email, "profile_image": user.image}
    return {
        "resultcode": "00",
        "message": "success",
        "response": {key: value for key, value in found.items() if value},
    }


def _odd_profile(provider: str, user: User) -> Json:
    """The id is right, nothing else is."""
    odd: Json = {"nested": ["object"]}
    if provider == "kakao":
        profile = {"nickname": odd, "profile_image_url": "javascript:alert(1)"}
        account = {"profile": profile, "email": odd, "is_email_valid": "yes", "is_email_verified": 1}
        return {"id": int(user.id(provider)), "kakao_account": account}
    if provider == "google":
        names = {"given_name": odd, "name": 17, "picture": "http://images.example.com/plain.png"}
        return {"sub": user.id(provider), "email": [odd], "email_verified": "true", **names}
    found = {"nickname": [odd], "email": "no address", "profile_image": "data:text/html,<script>"}
    return {"resultcode": odd, "response": {"id": user.id(provider), **found}}


async def _endless() -> AsyncIterator[bytes]:
    """Not quite without an end: one that a forgotten client reads would keep a processor busy for ever."""
    until = time.monotonic() + ENDLESS_SECONDS
    while time.monotonic() < until:
        yield b" " * 65_536
        await asyncio.sleep(0)  # lets it notice that the client is gone


@cache
def _bomb() -> bytes:
    packed = zlib.compressobj(1, wbits=31)
    parts = [packed.compress(bytes(1 << 20)) for _ in range(128)]
    return b"".join((*parts, packed.flush()))


def _refusal(provider: str) -> Response:
    body = {"error": "invalid_grant", "error_description": "authorization code not found"}
    if provider == "kakao":
        return JSONResponse({**body, "error_code": "KOE320"}, 400)
    # Naver refuses with status 200.
    return JSONResponse(body, 200 if provider == "naver" else 400)


_PAGE = """<!doctype html>
<html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} 로그인 (모의)</title>
<style>body{{font:16px/1.5 sans-serif;max-width:24rem;margin:3rem auto;padding:0 1rem}}
button,input{{font:inherit;width:100%;padding:.7rem;margin:.25rem 0;box-sizing:border-box}}</style>
<h1>{title} 로그인</h1>
<p>로컬에서 쓰는 모의 화면이에요. <b>{client}</b>에 누구로 로그인할까요?</p>
<form method="post">{hidden}
{users}
<p><label>다른 이름 <input name="name" maxlength="40"></label>
<label>이메일 (없어도 돼요) <input name="email" type="email"></label></p>
<button name="user" value="">이 이름으로 로그인</button>
<button name="cancel" value="1">취소</button>
</form></html>
"""
_FIELDS = ("client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method")


class Emulator:
    def __init__(self, control: Mapping[str, Behaviour] | None = None) -> None:
        self._behaviours = {"*": Behaviour(), **(control or {})}
        self._codes: dict[str, Grant] = {}
        self._tokens: dict[str, tuple[str, User]] = {}
        self._calls: Counter[str] = Counter()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/ready", lambda _: PlainTextResponse("ready")),
                Route("/_control", self.control, methods=["POST"]),
                Route("/_calls", lambda _: JSONResponse(self._calls)),
                Route("/{provider}/authorize", self._step("authorize", self.page), methods=["GET"]),
                Route("/{provider}/authorize", self._step("authorize", self.consent), methods=["POST"]),
                Route("/{provider}/token", self._step("token", self.token), methods=["POST"]),
                Route("/{provider}/profile", self._step("profile", self.profile), methods=["GET"]),
            ]
        )

    def _behaviour(self, provider: str) -> Behaviour:
        return self._behaviours.get(provider, self._behaviours["*"])

    def _step(self, name: str, behaviour: Callable[[str, Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            provider = request.path_params["provider"]
            if provider not in PROVIDERS:
                return PlainTextResponse("no such provider", 404)
            self._calls[f"{provider} {name}"] += 1
            fault = None if name == "authorize" else await self._fault(provider, name)
            return fault or await behaviour(provider, request)

        return answer

    async def _fault(self, provider: str, step: str) -> Response | None:
        told = self._behaviour(provider)
        await asyncio.sleep(told.seconds)
        match getattr(told, step):
            case "hang":
                await asyncio.sleep(3600)
            case "error":
                return PlainTextResponse("internal error", 500)
            case "refuse":
                return _refusal(provider)
            case "garbage":
                return HTMLResponse("<html>maintenance</html>")
            case "empty":
                return JSONResponse({})
            case "list":
                return JSONResponse(["access_token", {"id": 1}])
            case "deep":
                return Response(b"[" * 50_000, media_type="application/json")
            case "endless":
                return StreamingResponse(_endless(), media_type="application/json")
            case "bomb":
                return Response(_bomb(), headers={"content-encoding": "gzip"}, media_type="application/json")
            case "odd" if step == "token":
                return JSONResponse({"access_token": {"token": 1}, "token_type": 7, "expires_in": [1]})  # nosec B105
        return None

    async def control(self, request: Request) -> Response:
        try:
            self._behaviours = {"*": Behaviour(), **_CONTROL.validate_json(await request.body())}
        except ValidationError as error:
            return PlainTextResponse(str(error), 422)
        return JSONResponse({})

    async def page(self, provider: str, request: Request) -> Response:
        asked = request.query_params
        if problem := _wrong_request(provider, asked):
            return PlainTextResponse(problem, 400)
        fields = "".join(_hidden(name, asked[name]) for name in _FIELDS if name in asked)
        users = "".join(_button(user) for user in self._behaviour(provider).users)
        text = {"title": PROVIDERS[provider], "client": html.escape(asked["client_id"])}
        return HTMLResponse(_PAGE.format(**text, hidden=fields, users=users))

    async def consent(self, provider: str, request: Request) -> Response:
        form = await _form(request)
        if problem := _wrong_request(provider, form):
            return PlainTextResponse(problem, 400)
        answer = {"state": form["state"]}
        if form.get("cancel"):
            back = {"error": "access_denied", "error_description": "User denied access", **answer}
            return RedirectResponse(f"{form['redirect_uri']}?{urlencode(back)}", 302)
        try:
            user = self._chosen(provider, form)
        except ValidationError:
            return PlainTextResponse("choose somebody, or write a name", 400)
        code = secrets.token_urlsafe(24)
        self._codes[code] = Grant(
            user=user,
            provider=provider,
            client_id=form["client_id"],
            redirect_uri=form["redirect_uri"],
            challenge=form.get("code_challenge"),
            state=form["state"],
            until=time.monotonic() + CODE_SECONDS,
        )
        return RedirectResponse(f"{form['redirect_uri']}?{urlencode({'code': code, **answer})}", 302)

    def _chosen(self, provider: str, form: Mapping[str, str]) -> User:
        """One of those offered by name, or a new person."""
        offered = {user.name: user for user in self._behaviour(provider).users}
        if form.get("user"):
            return offered.get(form["user"]) or User(name=form["user"], email=form.get("email") or None)
        return User(name=form.get("name", ""), email=form.get("email") or None)

    async def token(self, provider: str, request: Request) -> Response:
        form = await _form(request)
        grant = self._codes.pop(form.get("code", ""), None)
        if grant is None or not _redeems(provider, grant, form):
            return _refusal(provider)
        token = secrets.token_urlsafe(32)
        self._tokens[token] = (provider, grant.user)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 21599})  # nosec B105

    async def profile(self, provider: str, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        owner, user = self._tokens.get(token, ("", None))
        if scheme.lower() != "bearer" or user is None or owner != provider:
            return JSONResponse({"msg": "this access token does not exist", "code": -401}, 401)
        odd = self._behaviour(provider).profile == "odd"
        return JSONResponse(_odd_profile(provider, user) if odd else _profile(provider, user))


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


def _wrong_request(provider: str, asked: Mapping[str, str]) -> str | None:
    """As the providers do, it sends codes to the callback of a registered application only."""
    missing = [name for name in ("client_id", "redirect_uri", "state") if not asked.get(name)]
    if missing:
        return f"missing: {', '.join(missing)}"
    target = urlsplit(asked["redirect_uri"])
    if target.scheme not in ("http", "https") or target.path != f"/api/v1/auth/{provider}/callback":
        return "this redirect_uri is not registered (KOE006)"
    if provider != "naver" and (asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge")):
        return "PKCE with S256 is expected"
    return None


def _redeems(provider: str, grant: Grant, form: Mapping[str, str]) -> bool:
    if grant.until < time.monotonic() or form.get("grant_type") != "authorization_code":
        return False
    if (grant.provider, grant.client_id) != (provider, form.get("client_id")):
        return False
    if provider == "naver":
        return form.get("state") == grant.state
    return form.get("redirect_uri") == grant.redirect_uri and _challenge(form.get("code_verifier")) == grant.challenge


def _challenge(verifier: str | None) -> str:
    from base64 import urlsafe_b64encode

    digest = hashlib.sha256((verifier or "").encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def _button(user: User) -> str:
    name = html.escape(user.name)
    return f'<button name="user" value="{name}">{name} ({html.escape(user.email or "이메일 없음")})</button>'


def unit(at: Layout) -> Unit:
    """For the local supervisor."""
    return running.unit(at, NAME, __name__, config.OAUTH_EMULATOR)


def main() -> None:
    parser = running.parser("oauth", "Emulated providers.")
    parser.add_argument("--control", type=_CONTROL.validate_json, default={}, help="JSON as for POST /_control")
    given = parser.parse_args()
    running.serve(Emulator(given.control).app(), given.port)


if __name__ == "__main__":
    main()
