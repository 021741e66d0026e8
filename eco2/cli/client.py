"""A client of the public API, as any app would be one: upload, submit, follow the events, read the result."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from eco2.cli.messages import sentence
from eco2.cli.text import readable

MAX_BYTES = 15 * 1024 * 1024
MAX_WORDS = 1000
"""Characters that can be said about a photo."""
RECONNECTS = 5
RECONNECT_SECONDS = 0.5
POLL_SECONDS = 2.0
POLLS = 60

Json = dict[str, Any]
OnEvent = Callable[[Json], None]


class ClientError(Exception):
    """A failure in one sentence that says what to do; `code` is the server's, where it gave one."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)


def connect(url: str, token: str) -> httpx2.Client:
    """A client of the gateway at `url` with a bearer token."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ClientError(f"{url!r}은(는) 주소가 아니에요. http://localhost:8080처럼 http://나 https://로 적어 주세요.")
    return httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=httpx2.Timeout(30, connect=5)
    )


def call(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """The response if it is a 2xx; ClientError otherwise."""
    try:
        response = client.request(method, path, **options)
    except (httpx2.ProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
        raise _stranger(client) from error
    except httpx2.TransportError as error:
        raise ClientError(
            f"{client.base_url}에 연결할 수 없어요 ({error}). `eco2 status`로 확인하고 `eco2 up`으로 켜 주세요."
        ) from error
    if response.is_success:
        return response
    raise _refusal(client, response)


def _stranger(client: httpx2.Client) -> ClientError:
    return ClientError(
        f"{client.base_url}의 서버는 Eco²가 아닌 것 같아요. `eco2 local url`과 `eco2 status`로 주소를 확인해 주세요."
    )


def _refusal(client: httpx2.Client, response: httpx2.Response) -> ClientError:
    try:
        body = response.json()
        return ClientError(sentence(body["code"], body["detail"]), body["code"])
    except (ValueError, KeyError, TypeError):
        return _stranger(client)


def _body(client: httpx2.Client, response: httpx2.Response, *keys: str) -> Json:
    """The JSON object that was answered; it has all `keys`."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not body.keys() >= set(keys):
        raise _stranger(client)
    return body


def upload(client: httpx2.Client, photo: Path) -> str:
    """Upload the photo through a presigned URL; returns its public URL."""
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise ClientError(
            f"{readable(photo)} 파일을 읽을 수 없어요 ({error.strerror}). 경로를 확인해 주세요."
        ) from error
    if len(data) > MAX_BYTES:
        size = f"{readable(photo)}은(는) {len(data) / 1024**2:.1f} MB예요. {MAX_BYTES // 1024**2} MB까지 올릴 수 있어요"
        raise ClientError(f"{size} (IMAGE_TOO_LARGE).", "IMAGE_TOO_LARGE")
    request = {"filename": readable(photo.name), "content_type": _content_type(data)}
    answer = call(client, "POST", "/api/v1/images/scan", json=request)
    ticket = _body(client, answer, "upload_url", "required_headers", "cdn_url")
    _store(ticket["upload_url"], data, ticket["required_headers"])
    return str(ticket["cdn_url"])


def _content_type(data: bytes) -> str:
    """By the first bytes: a name may have no extension, or a wrong one."""
    from eco2 import photos

    try:
        return photos.sniff(data[:64])
    except photos.PhotoTypeRefused as error:
        raise ClientError(sentence(error.code, error.message), error.code) from None


def _store(url: str, data: bytes, headers: dict[str, str]) -> None:
    try:
        with httpx2.Client(timeout=60) as store:  # no credentials may go to the object store
            answer = store.put(url, content=data, headers=headers)
    except httpx2.TransportError as error:
        raise ClientError(f"사진을 올리지 못했어요 ({error}). 잠시 뒤에 다시 해 주세요.") from error
    if not answer.is_success:
        raise ClientError(f"사진을 올리지 못했어요 (저장소의 응답 {answer.status_code}). 잠시 뒤에 다시 해 주세요.")


def submit(client: httpx2.Client, image_url: str, user_input: str | None, model: str | None) -> Json:
    body = {"image_url": image_url, "user_input": user_input, "model": model}
    answer = call(client, "POST", "/api/v1/scan", json=body)
    return _body(client, answer, "job_id", "stream_url", "result_url")


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
            raise ClientError(f"진행 상황을 볼 수 없어요 (GET {stream_url}: {error.response.status_code}).") from error
        except httpx2.SSEError as error:
            raise _stranger(client) from error
        except httpx2.TransportError:
            time.sleep(RECONNECT_SECONDS)
    raise ClientError(f"진행 상황 연결이 {RECONNECTS}번 끊겼어요 (GET {stream_url}).")


def _meaningful(event: httpx2.ServerSentEvent) -> bool:
    return event.event not in ("keepalive", "error")


def result(client: httpx2.Client, result_url: str) -> Json:
    """The finished result; polls while it is not."""
    for _ in range(POLLS):
        response = call(client, "GET", result_url)
        if response.status_code == httpx2.codes.OK:
            return _body(client, response, "status", "outcome")
        time.sleep(POLL_SECONDS)
    raise ClientError(f"{POLLS * POLL_SECONDS:g}초 안에 결과가 없어요. 나중에 다시 물어봐 주세요: GET {result_url}")


def scan(
    client: httpx2.Client,
    photo: Path,
    user_input: str | None = None,
    model: str | None = None,
    on_event: OnEvent | None = None,
) -> Json:
    """Upload, submit, follow; returns the result body of the contract. `on_event` gets each event's frame."""
    if len(user_input or "") > MAX_WORDS:
        raise ClientError(f"하고 싶은 말은 {MAX_WORDS}자까지 적을 수 있어요 (지금 {len(user_input or '')}자).")
    job = submit(client, upload(client, photo), user_input, model)
    for frame in events(client, job["stream_url"]):
        if on_event:
            on_event(frame)
    return result(client, job["result_url"])


def choose(client: httpx2.Client, job_id: str, minor_category: str) -> Json:
    """Complete an uncertain scan."""
    body = {"minor_category": minor_category}
    return _body(client, call(client, "POST", f"/api/v1/scan/{job_id}/choice", json=body), "status", "outcome")
