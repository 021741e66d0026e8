"""Requests to addresses from outside (feeds, articles, pictures) that cannot reach internal servers.

The address of every connection is checked as its socket is opened: after resolving, on every redirect, and for literal
addresses, which no resolver sees. Everything is bounded: hops, time, bytes (unpacked), types.
"""

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp

from eco2.core.errors import AppError, BadRequest, Unavailable

PORTS = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONGEST_URL = 2000
NAT64 = ipaddress.ip_network("64:ff9b::/96")
USER_AGENT = "Eco2/1 (news of the environment for a waste-sorting app)"


class NotAllowed(BadRequest):
    """Only public http and https addresses on their own ports are fetched."""

    code = "URL_NOT_ALLOWED"


class Unreachable(Unavailable):
    """The server does not answer now."""

    code = "SOURCE_UNAVAILABLE"


class Unusable(AppError):
    """Answer of a server that is too large, or nothing that can be read."""

    status = 502
    code = "SOURCE_UNUSABLE"


@dataclass(frozen=True)
class Limits:
    """`types`: media types that are read, all without."""

    seconds: float = 10.0
    bytes: int = 2 * 1024 * 1024
    hops: int = 3
    types: Collection[str] = ()


@dataclass(frozen=True)
class Fetched:
    """`url` is where the redirects ended; names of headers are in lower case."""

    url: str
    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def is_public(address: str) -> bool:
    """An address of the internet at large: nothing local, private, reserved, or that a gateway turns into such."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip.sixtofour is not None or ip.teredo is not None or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


class Fetcher:
    """`async with Fetcher() as fetcher:`. `trusted` are origins (http://127.0.0.1:10018) exempt from the rules,
    as emulators of the local stack are. `agent`: how requests name themselves."""

    def __init__(self, trusted: Collection[str] = (), agent: str = USER_AGENT) -> None:
        self._agent = agent
        self._trusted = frozenset(_origin(urlsplit(url)) for url in trusted)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=20, use_dns_cache=False, force_close=True, socket_factory=self._socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": self._agent, "Accept-Encoding": "gzip"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, url: str, limits: Limits = Limits(), headers: Mapping[str, str] | None = None) -> Fetched:
        """NotAllowed, Unreachable, Unusable. `headers` go to the origin of `url` only, wherever that redirects.

        A status of 400 or more is an answer, too; its body is not read.
        """
        origin = _origin(self._checked(url))
        async with _bounded(url, limits):
            for _ in range(limits.hops + 1):
                own = headers if _origin(urlsplit(url)) == origin else None
                answer = await self._once(url, limits, own or {})
                if isinstance(answer, Fetched):
                    return answer
                url = answer
                self._checked(url)
        raise Unusable(f"{_host(url)} redirects more than {limits.hops} times.")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], limits: Limits = Limits()) -> Fetched:
        """NotAllowed, Unreachable. A redirect is an answer like another: nothing is sent where it leads.

        The answer's body is not read.
        """
        self._checked(url)
        assert self._session is not None
        async with (
            _bounded(url, limits),
            self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Fetched(url, answer.status, names.get("content-type", ""), b"", names)

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise NotAllowed from None
        if (
            len(url) > LONGEST_URL
            or not url.isprintable()
            or " " in url
            or parts.username is not None
            or not parts.hostname
        ):
            raise NotAllowed
        if _origin(parts) in self._trusted:
            return parts
        if parts.scheme not in PORTS or port not in (None, PORTS[parts.scheme]):
            raise NotAllowed
        if _is_literal(parts.hostname) and not is_public(parts.hostname):
            raise NotAllowed(f"{parts.hostname} is not a public address.")
        return parts

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Called with each address that is about to be connected to."""
        family, kind, protocol, _, address = info
        if not is_public(address[0]) and f"http://{address[0]}:{address[1]}" not in self._trusted:
            raise _Inside
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    async def _once(self, url: str, limits: Limits, headers: Mapping[str, str]) -> Fetched | str:
        """The answer, or where it redirects to."""
        assert self._session is not None
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status in REDIRECTS and (location := answer.headers.get("location")):
                return urljoin(url, location)
            told = {name.lower(): value for name, value in answer.headers.items()}
            kind = answer.content_type.lower() if "content-type" in told else ""
            if answer.status != 200:
                return Fetched(url, answer.status, kind, b"", told)
            if limits.types and kind not in limits.types:
                raise Unusable(f"{_host(url)} answers {kind or 'no type'}.")
            return Fetched(url, answer.status, kind, await _body(answer, limits.bytes), told)


@asynccontextmanager
async def _bounded(url: str, limits: Limits) -> AsyncIterator[None]:
    """Ends what takes too long, and tells errors of the network as ours. `url`: where it began."""
    try:
        async with asyncio.timeout(limits.seconds):
            yield
    except TimeoutError:
        raise Unreachable(f"{_host(url)} did not answer within {limits.seconds:g} s.") from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, _Inside) or _Inside.sign in str(error):
            raise NotAllowed(f"{_host(url)} leads to an address that is not public.") from None
        raise Unreachable(f"{_host(url)} cannot be reached: {error.os_error}.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"{_host(url)} cannot be read: {type(error).__name__}.") from None


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Unusable(f"The answer is packed as {encoding[:20]}, which was not requested.")
    unpack = zlib.decompressobj(wbits=31) if encoding != "identity" else None
    body = bytearray()
    try:
        async for part in answer.content.iter_chunked(65_536):
            body += unpack.decompress(part, most + 1 - len(body)) if unpack else part
            if len(body) > most:
                raise Unusable(f"The answer is longer than {most:,} bytes.")
    except zlib.error:
        raise Unusable("The answer cannot be unpacked.") from None
    return bytes(body)


class _Inside(OSError):
    """The address is not public."""

    sign = "the address is not public"

    def __init__(self) -> None:
        super().__init__(self.sign)


def _origin(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or PORTS.get(parts.scheme, 0)}"


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _host(url: str) -> str:
    """For messages: an address may carry a key in its query."""
    try:
        return urlsplit(url).hostname or "The address"
    except ValueError:
        return "The address"
