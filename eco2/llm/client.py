"""The OpenAI SDK's client with a short way for requests whose body is rendered already.

Its own `post` copies options, merges headers and passes five layers of httpx: four fifths of what a call costs us
(docs/benchmarks/performance.md). Address, credentials, headers and errors are the SDK's here, too.
"""

from collections.abc import Mapping
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from openai import AsyncOpenAI


class Client(AsyncOpenAI):
    """Made within the loop that uses it; no request is repeated."""

    def __init__(
        self, *, api_key: str, base_url: str, connect_seconds: float, connections: int, keepalive_seconds: float
    ) -> None:
        tls = httpx2.create_ssl_context()  # takes some MB: one for both ways
        timeout = httpx2.Timeout(None, connect=connect_seconds)
        http_client = httpx2.AsyncClient(verify=tls, timeout=timeout)
        super().__init__(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=http_client)
        sent = {**self.default_headers, **self.auth_headers}
        self._fixed = {name: value for name, value in sent.items() if isinstance(value, str)}
        self._proxy = None if proxy_bypass(self.base_url.host) else getproxies().get(self.base_url.scheme)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=connections, keepalive_timeout=keepalive_seconds),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        )

    async def post_json(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of the answer. Raises `openai.APIStatusError`, `aiohttp.ClientError`; sets no time limit."""
        url = str(self.base_url).rstrip("/") + path
        async with self._session.post(
            url, data=body, headers={**self._fixed, **headers}, allow_redirects=False, proxy=self._proxy
        ) as answer:
            content = await answer.read()
        if answer.status == 200:
            return content, answer.headers
        told = {name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"}  # decoded
        request = httpx2.Request("POST", url)
        raise self._make_status_error_from_response(
            httpx2.Response(answer.status, headers=told, content=content, request=request)
        )

    async def close(self) -> None:
        await self._session.close()
        await super().close()
