"""A browser as far as signing in needs one: cookies with their paths (`Secure` ones on loopback), forms, redirects."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from eco2.auth import guests
from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE

APP = "http://localhost:5173"
AUTH = "/api/v1/auth"


@dataclass
class Browser:
    """`cookies`: name → (value, path). Everything goes to one host, so no domains are kept."""

    client: httpx2.AsyncClient
    origin: str = APP
    cookies: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def access(self) -> str:
        return self.cookies[ACCESS_COOKIE][0]

    @property
    def refresh_token(self) -> str:
        return self.cookies[REFRESH_COOKIE][0]

    def header(self, path: str) -> dict[str, str]:
        sent = [f"{name}={value}" for name, (value, at) in self.cookies.items() if path.startswith(at)]
        return {"Cookie": "; ".join(sent)} if sent else {}

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """Script of the web app: with cookies, and with Origin where a browser sends it."""
        headers: Mapping[str, str] = {"Origin": self.origin, **self.header(urlsplit(url).path)}
        response = await self.client.request(method, url, headers={**headers, **options.pop("headers", {})}, **options)
        self._keep(response)
        return response

    async def navigate(self, url: str) -> httpx2.Response:
        """The address bar: no Origin."""
        response = await self.client.get(url, headers=self.header(urlsplit(url).path))
        self._keep(response)
        return response

    def _keep(self, response: httpx2.Response) -> None:
        for line in response.headers.get_list("set-cookie"):
            assert "HttpOnly" in line
            assert "Secure" in line
            assert "SameSite=lax" in line
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = (morsel.value, morsel["path"])

    async def start(self, provider: str, **query: str) -> str:
        """The address of the provider's consent page."""
        response = await self.request("GET", f"{AUTH}/{provider}", params=query)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["success"] is True
        return str(body["data"]["authorization_url"])

    async def consent(self, page_url: str, **answer: str) -> str:
        """Fills in the page of the emulated provider; where it sends the browser back to."""
        page = await self.client.get(page_url)
        assert page.status_code == 200, page.text
        fields = {name: unescape(value) for name, value in re.findall(r'hidden" name="(\w+)" value="(.*?)"', page.text)}
        answered = await self.client.post(page_url, data={**fields, **answer})
        assert answered.status_code == 302, answered.text
        return answered.headers["location"]

    async def sign_in(self, provider: str = "kakao", *, name: str, email: str = "") -> str:
        """All of it; where the browser ends."""
        back = await self.consent(await self.start(provider), name=name, email=email)
        return (await self.navigate(back)).headers["location"]

    async def proof(self) -> str:
        response = await self.request("POST", f"{AUTH}/guest/challenge")
        assert response.status_code == 200, response.text
        return solve(response.json()["challenge"], response.json()["difficulty"])

    async def enter(self, proof: str) -> httpx2.Response:
        return await self.request("POST", f"{AUTH}/guest", json={"proof": proof})

    async def become_guest(self) -> None:
        response = await self.enter(await self.proof())
        assert response.status_code == 201, response.text

    async def refresh(self) -> httpx2.Response:
        return await self.request("POST", f"{AUTH}/refresh")

    async def logout(self) -> httpx2.Response:
        return await self.request("POST", f"{AUTH}/logout")

    async def ping(self) -> httpx2.Response:
        """Something that needs a user."""
        return await self.request("GET", "/api/v1/authz/ping")


def error_of(location: str) -> str:
    """The error code that the web app is given."""
    page, _, query = location.partition("?")
    assert page.endswith("/#/login")
    return parse_qs(query)["error"][0]


def solve(challenge: str, difficulty: int) -> str:
    """The proof of work that a guest's browser does."""
    return next(
        proof for proof in (f"{challenge}.{nonce}" for nonce in itertools.count()) if guests.proves(proof, difficulty)
    )
