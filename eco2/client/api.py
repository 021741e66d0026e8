"""A client of the public API, as any app would be one: upload, submit, follow the events, read the result."""

import json
import mimetypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2

MAX_BYTES = 15 * 1024 * 1024
RECONNECTS = 5
RECONNECT_SECONDS = 0.5
POLL_SECONDS = 2.0
POLLS = 60

Json = dict[str, Any]
OnEvent = Callable[[Json], None]

mimetypes.add_type("image/heic", ".heic")
mimetypes.add_type("image/webp", ".webp")


class ClientError(Exception):
    """What went wrong, in one sentence that says what to do."""


def connect(url: str, token: str) -> httpx2.Client:
    """A client of the gateway at `url` with a bearer token."""
    return httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=httpx2.Timeout(30, connect=5)
    )


def call(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """The response if it is a 2xx; ClientError with the server's own words otherwise."""
    try:
        response = client.request(method, path, **options)
    except httpx2.TransportError as error:
        raise ClientError(
            f"Cannot reach {client.base_url}: {error}. Is the stack up? Try `eco2 status` or `eco2 up`."
        ) from error
    if response.is_success:
        return response
    try:
        body = response.json()
        reason = f"{body['detail']} ({body['code']})"
    except (ValueError, KeyError, TypeError):
        reason = f"{method} {path} answered {response.status_code}"
    raise ClientError(reason)


def upload(client: httpx2.Client, photo: Path) -> str:
    """Upload the photo through a presigned URL; returns its public URL."""
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise ClientError(f"Cannot read {photo}: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ClientError(f"{photo} has {len(data) / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are allowed.")
    content_type = mimetypes.guess_type(photo.name)[0] or "application/octet-stream"
    ticket = call(
        client, "POST", "/api/v1/images/scan", json={"filename": photo.name, "content_type": content_type}
    ).json()
    with httpx2.Client(timeout=60) as store:  # no credentials may go to the object store
        call(store, "PUT", ticket["upload_url"], content=data, headers=ticket["required_headers"])
    return str(ticket["cdn_url"])


def submit(client: httpx2.Client, image_url: str, user_input: str | None, model: str | None) -> Json:
    body = {"image_url": image_url, "user_input": user_input, "model": model}
    return dict(call(client, "POST", "/api/v1/scan", json=body).json())


def events(client: httpx2.Client, stream_url: str) -> Iterator[Json]:
    """The events of a job in order, each once, up to the terminal one; reconnects with Last-Event-ID."""
    last = ""
    for _ in range(RECONNECTS):
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with client.sse(stream_url, headers=headers, timeout=httpx2.Timeout(60, connect=5)) as source:
                source.response.raise_for_status()
                for event in source:
                    last = event.id or last
                    if _meaningful(event):
                        yield json.loads(event.data)
                    if event.event == "done":
                        return
        except httpx2.HTTPStatusError as error:
            raise ClientError(f"GET {stream_url} answered {error.response.status_code}") from error
        except httpx2.TransportError:
            time.sleep(RECONNECT_SECONDS)
    raise ClientError(f"The event stream {stream_url} broke {RECONNECTS} times.")


def _meaningful(event: httpx2.ServerSentEvent) -> bool:
    return event.event not in ("keepalive", "error")


def result(client: httpx2.Client, result_url: str) -> Json:
    """The finished result; polls while it is not."""
    for _ in range(POLLS):
        response = call(client, "GET", result_url)
        if response.status_code == httpx2.codes.OK:
            return dict(response.json())
        time.sleep(POLL_SECONDS)
    raise ClientError(f"No result within {POLLS * POLL_SECONDS:g} s; ask again: GET {result_url}")


def scan(
    client: httpx2.Client,
    photo: Path,
    user_input: str | None = None,
    model: str | None = None,
    on_event: OnEvent | None = None,
) -> Json:
    """Upload, submit, follow; returns the result body of the contract. `on_event` gets each event's frame."""
    job = submit(client, upload(client, photo), user_input, model)
    for frame in events(client, job["stream_url"]):
        if on_event:
            on_event(frame)
    return result(client, job["result_url"])


def choose(client: httpx2.Client, job_id: str, minor_category: str) -> Json:
    """Complete an uncertain scan."""
    body = {"minor_category": minor_category}
    return dict(call(client, "POST", f"/api/v1/scan/{job_id}/choice", json=body).json())
