"""The OpenAI SDK's client as we set it up: its own retries off, its aiohttp transport, no redirects."""

import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 60.0


def client(api_key: str, base_url: str, connections: int) -> AsyncOpenAI:
    """Made within the loop that uses it. It sets no time limit but that of connecting: its callers have one."""
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    transport = DefaultAioHttpClient(
        timeout=timeout,
        follow_redirects=False,
        limits=httpx2.Limits(max_connections=connections, keepalive_expiry=KEEPALIVE_SECONDS),
    )
    return AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=transport)
