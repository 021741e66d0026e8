"""Kakao, Google and Naver: start of a sign-in, profile for a code, owner of a provider's token.

Authlib does the protocol. The three differ in the table below and in the reading of a profile. An answer of a provider
is read up to ANSWER_MAX bytes and by type; only its id of the user is required.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from eco2.auth.settings import ProviderSettings
from eco2.core.errors import AppError

Json = Mapping[str, Any]
log = logging.getLogger(__name__)

ANSWER_MAX = 65_536
"""Bytes of one answer of a provider. Those of today are below 2,000."""
ID_MAX, EMAIL_MAX, NICKNAME_MAX, URL_MAX, TOKEN_MAX = 255, 320, 120, 1024, 4096


class NotOffered(AppError):
    """Signing in with this provider is not set up here; choose another one."""

    status = 404
    code = "PROVIDER_NOT_CONFIGURED"


class ProviderAway(AppError):
    """The provider does not answer; try again in a moment."""

    status = 503
    code = "PROVIDER_UNAVAILABLE"


class ProviderRefused(AppError):
    """The provider did not accept that; sign in again."""

    status = 401
    code = "PROVIDER_REFUSED"


@dataclass(frozen=True)
class Profile:
    """A person as a provider knows them. An e-mail address is only there when the user shares it."""

    provider: str
    provider_user_id: str
    email: str | None = None
    nickname: str | None = None
    image_url: str | None = None


def _kakao(body: Json) -> Profile:
    account = _object(body, "kakao_account")
    profile = _object(account, "profile")
    verified = account.get("is_email_valid") is True and account.get("is_email_verified") is True
    email = _email(account.get("email")) if verified else None
    picture = _picture(profile.get("profile_image_url"))
    return Profile("kakao", _id(body["id"]), email, _nickname(profile.get("nickname")), picture)


def _google(body: Json) -> Profile:
    email = _email(body.get("email")) if body.get("email_verified") is True else None
    nickname = _nickname(body.get("given_name")) or _nickname(body.get("name"))
    return Profile("google", _id(body["sub"]), email, nickname, _picture(body.get("picture")))


def _naver(body: Json) -> Profile:
    found = body["response"]
    email, picture = _email(found.get("email")), _picture(found.get("profile_image"))
    return Profile("naver", _id(found["id"]), email, _nickname(found.get("nickname")), picture)


def _id(value: object) -> str:
    """ValueError without an id."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 0 < len(text) <= ID_MAX or not text.isprintable():
        raise ValueError("the profile has no id")
    return text


def _object(body: Json, name: str) -> Json:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _nickname(value: object) -> str | None:
    """On one line, cut to a limit."""
    if not isinstance(value, str):
        return None
    return " ".join(_UNPRINTABLE.sub(" ", value).split())[:NICKNAME_MAX].strip() or None


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _email(value: object) -> str | None:
    plain = isinstance(value, str) and len(value) <= EMAIL_MAX and _EMAIL.fullmatch(value)
    return str(value) if plain else None


_EMAIL = re.compile(r"[^\s@\x00-\x20\x7f]+@[^\s@\x00-\x20\x7f]+")


def _picture(value: object) -> str | None:
    """Only https: the address is shown in pages of ours."""
    plain = isinstance(value, str) and len(value) <= URL_MAX and _PICTURE.fullmatch(value)
    return str(value) if plain else None


_PICTURE = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!#-&(-;=?-\[\]_a-z~]*)?")


@dataclass(frozen=True)
class Endpoints:
    authorize: str
    token: str
    profile: str
    read: Callable[[Json], Profile]
    scope: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    ask: tuple[tuple[str, str], ...] = ()
    """Has the provider ask the user although it knows who it is and was asked before."""
    pkce: bool = True


PROVIDERS = {
    "kakao": Endpoints(
        "https://kauth.kakao.com/oauth/authorize",
        "https://kauth.kakao.com/oauth/token",
        # Otherwise the addresses of its pictures are plain http.
        "https://kapi.kakao.com/v2/user/me?secure_resource=true",
        _kakao,
        ask=(("prompt", "select_account"),),
    ),
    "google": Endpoints(
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        "https://www.googleapis.com/oauth2/v3/userinfo",
        _google,
        scope="openid email profile",
        extra=(("access_type", "offline"), ("prompt", "consent")),
    ),
    # Naver knows no PKCE, and wants the state again with the code.
    "naver": Endpoints(
        "https://nid.naver.com/oauth2.0/authorize",
        "https://nid.naver.com/oauth2.0/token",
        "https://openapi.naver.com/v1/nid/me",
        _naver,
        ask=(("auth_type", "reprompt"),),
        pkce=False,
    ),
}


class Providers:
    """The providers that this platform is registered with, over one pool of connections."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._transport = _Bounded(httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=50)))

    async def close(self) -> None:
        await self._transport.aclose()

    def _endpoints(self, provider: str) -> Endpoints:
        """NotOffered."""
        known = PROVIDERS[provider]
        if self._credentials(provider)[0]:
            return known
        base = self._settings.oauth_emulator_url
        if not base:
            raise NotOffered
        here = f"{base}/{provider}"
        return replace(known, authorize=f"{here}/authorize", token=f"{here}/token", profile=f"{here}/profile")

    def _credentials(self, provider: str) -> tuple[str | None, str | None]:
        found = (getattr(self._settings, f"{provider}_client_{part}") for part in ("id", "secret"))
        return next(found), next(found)

    def _client(self, provider: str, at: Endpoints, redirect_uri: str | None = None) -> AsyncOAuth2Client:
        """One for each sign-in, since it remembers the token; only the connections are shared."""
        client_id, secret = self._credentials(provider)
        return AsyncOAuth2Client(
            client_id or f"eco2-{provider}",
            secret,
            token_endpoint_auth_method="client_secret_post" if secret else "none",
            scope=at.scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            transport=self._transport,
            timeout=self._settings.oauth_timeout.total_seconds(),
            trust_env=False,
        )

    def authorization_url(
        self, provider: str, redirect_uri: str, state: str, verifier: str, *, asks: bool = False
    ) -> str:
        """NotOffered. `asks`: the user has to answer, signed in there or not."""
        at = self._endpoints(provider)
        client = self._client(provider, at, redirect_uri)
        parameters = dict(at.extra + (at.ask if asks else ()))
        proof = verifier if at.pkce else None
        url, _ = client.create_authorization_url(at.authorize, state, code_verifier=proof, **parameters)
        return str(url)

    async def profile_of_code(self, provider: str, redirect_uri: str, code: str, state: str, verifier: str) -> Profile:
        """Ask the provider who came back with this code; NotOffered, ProviderAway, ProviderRefused."""
        at = self._endpoints(provider)
        client = self._client(provider, at, redirect_uri)
        proof = {"code_verifier": verifier} if at.pkce else {"body": urlencode({"state": state})}
        async with self._call(provider):
            token = await client.fetch_token(at.token, code=code, grant_type="authorization_code", **proof)
            return await _profile(at, client, _token(token["access_token"]))

    async def verify(self, provider: str, access_token: str) -> Profile:
        """Owner of this token of a provider. NotOffered, ProviderAway, ProviderRefused."""
        at = self._endpoints(provider)
        async with self._call(provider):
            return await _profile(at, self._client(provider, at), access_token)

    @asynccontextmanager
    async def _call(self, provider: str) -> AsyncIterator[None]:
        """A provider that trickles its answer is away, too."""
        with _plain_errors(provider):
            async with asyncio.timeout(2 * self._settings.oauth_timeout.total_seconds()):
                yield


class _Bounded(httpx2.AsyncBaseTransport):
    """Passes on answers of ANSWER_MAX bytes as they were sent: no compression, which a few bytes could blow up."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("a compressed answer, which was not requested")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._inner:
            read += len(part)
            if read > ANSWER_MAX:
                raise httpx2.ReadError(f"an answer of more than {ANSWER_MAX} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def _token(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= TOKEN_MAX and value.isascii() and value.isprintable():
        return value
    raise ValueError("the access token is none")


async def _profile(at: Endpoints, client: AsyncOAuth2Client, access_token: str) -> Profile:
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = await client.request("GET", at.profile, headers=headers, withhold_token=True)
    answer.raise_for_status()
    return at.read(answer.json())


@contextmanager
def _plain_errors(provider: str) -> Iterator[None]:
    """Reduce every fault of a provider to two: it is away, or it refused."""
    try:
        yield
    except (OAuthError, AuthlibBaseError) as error:
        log.warning("%s refused: %s", provider, error.error)
        raise ProviderRefused from error
    except httpx2.HTTPStatusError as error:
        log.warning("%s answered %d", provider, error.response.status_code)
        refused = error.response.status_code in (400, 401, 403)
        raise (ProviderRefused if refused else ProviderAway) from error
    except (httpx2.HTTPError, TimeoutError) as error:
        log.warning("%s is away: %r", provider, error)
        raise ProviderAway from error
    except _ODD as error:
        log.warning("%s answered something else than documented: %.300r", provider, error)
        raise ProviderAway from error


_ODD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors that reading an answer of another form can raise, in Authlib as well as here."""
