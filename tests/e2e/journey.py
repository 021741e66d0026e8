"""Steps of a citizen's journey through the gateway."""

import asyncio
import json
from typing import Any

import httpx2

from tests.conftest import Person

Json = dict[str, Any]


async def upload(who: Person, data: bytes, content_type: str = "image/jpeg", name: str = "photo.jpg") -> str:
    """Upload through a presigned URL; returns the public URL."""
    body = {"filename": name, "content_type": content_type}
    ticket = (await who.http.post("/api/v1/images/scan", json=body)).raise_for_status().json()
    async with httpx2.AsyncClient() as store:
        put = await store.put(ticket["upload_url"], content=data, headers={"Content-Type": content_type})
    put.raise_for_status()
    return str(ticket["cdn_url"])


async def submit(who: Person, image_url: str, **body: str) -> Json:
    response = await who.http.post("/api/v1/scan", json={"image_url": image_url, **body})
    return dict(response.raise_for_status().json())


async def frames(who: Person, stream_url: str, last_event_id: str = "") -> list[Json]:
    """Every event up to the end of the stream, with the id of its frame."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with asyncio.timeout(60), who.http.sse(stream_url, headers=headers) as source:
        source.response.raise_for_status()
        events = [event async for event in source if event.event != "keepalive"]
    return [{**json.loads(event.data), "event": event.event, "id": event.id} for event in events]


async def result(who: Person, result_url: str) -> Json:
    response = await who.http.get(result_url)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def scan(who: Person, data: bytes, content_type: str = "image/jpeg", **body: str) -> Json:
    """The whole journey; returns the result."""
    job = await submit(who, await upload(who, data, content_type), **body)
    await frames(who, job["stream_url"])
    return await result(who, job["result_url"])


async def result_when_done(who: Person, result_url: str, seconds: float = 60) -> Json:
    """Poll as a client without a stream does."""
    async with asyncio.timeout(seconds):
        while (response := await who.http.get(result_url)).status_code == 202:
            await asyncio.sleep(0.1)
    assert response.status_code == 200, response.text
    return dict(response.json())


def is_error(response: httpx2.Response, status: int, code: str) -> bool:
    body = response.json()
    return (response.status_code, body["code"]) == (status, code) and isinstance(body["detail"], str)
