"""`eco2 smoke`: one of everything, asked from outside as a client would, after a deployment or on the local stack.

It leaves nothing: a guest's session ends with it, and what a guest leaves is purged. With --token its scan stays."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import httpx2

CHECKOUT = Path(__file__).parents[2]
PHOTO = CHECKOUT / "data" / "demo" / "coffee.jpg"
REQUEST_SECONDS = 10.0
AGAIN_SECONDS = 1.0
"""Before the second and last try of a read that got no answer: one lost connection is no failed deployment."""
AWAY = (502, 503, 504)
SEOUL = "lat=37.5665&lon=126.978"
Json = dict[str, Any]


class Failed(Exception):
    """Finding of a check, in one sentence."""


class Skipped(Exception):
    """The check that has to pass before this one can be tried."""


@dataclass
class Outcome:
    """`status`: passed, failed or skipped."""

    check: str
    status: str
    detail: str
    milliseconds: int


class Platform:
    """Client of the checks, and what those before have found out."""

    def __init__(self, client: "httpx2.Client", token: str, seconds: float) -> None:
        self.client, self.token, self.seconds = client, token, seconds
        self.end = 0.0
        self.cookies = ""
        self.image = ""
        self.job: Json = {}
        self.frames: list[Json] = []
        self.ended = False

    def ask(self, method: str, path: str, expected: int, *, signed_in: bool = True, **options: Any) -> Json:
        """The JSON object or, under `items`, the list that was answered with the expected status."""
        headers = {"Authorization": f"Bearer {self.signed_in()}"} if signed_in else {}
        answer = self._sent(method, path, headers, options)
        if answer.status_code != expected:
            raise Failed(f"{method} {path} answers {answer.status_code}, not {expected}{_code(answer)}")
        try:
            body = answer.json()
        except ValueError:
            raise Failed(f"{method} {path} answers no JSON") from None
        return body if isinstance(body, dict) else {"items": body}

    def signed_in(self) -> str:
        if not self.token:
            raise Skipped("auth")
        return self.token

    def _sent(self, method: str, path: str, headers: Mapping[str, str], options: Json) -> "httpx2.Response":
        import httpx2

        for last in (method != "GET", True):
            try:
                answer = self.client.request(method, path, headers=headers, **options)
            except httpx2.TransportError as error:
                if last:
                    raise Failed(f"{method} {path} gets no answer ({type(error).__name__})") from None
            else:
                if last or answer.status_code not in AWAY:
                    return answer
            time.sleep(AGAIN_SECONDS)
        raise AssertionError("the last try returns or raises")


def _code(answer: "httpx2.Response") -> str:
    try:
        return f" ({answer.json()['code']})"
    except (ValueError, KeyError, TypeError):
        return ""


def _some(body: Json, key: str, path: str) -> int:
    rows = body.get(key)
    if not isinstance(rows, list) or not rows:
        raise Failed(f"GET {path} has no {key}")
    return len(rows)


# --- checks, in the order in which they run ---------------------------------------------------------------------------


def edge(platform: Platform) -> str:
    """Without a session the edge refuses, so it runs and asks ext-authz."""
    body = platform.ask("GET", "/api/v1/users/me", 401, signed_in=False)
    if not body.get("code"):
        raise Failed("GET /api/v1/users/me is refused, but not by ext-authz")
    return "refuses who is not signed in"


def auth(platform: Platform) -> str:
    """Keys of tokens, and a session: that of a guest, or the token that was given."""
    keys = _some(platform.ask("GET", "/api/v1/auth/.well-known/jwks.json", 200, signed_in=False), "keys", "jwks.json")
    if platform.token:
        return f"{keys} keys; the token that was given"
    challenge = platform.ask("POST", "/api/v1/auth/guest/challenge", 200, signed_in=False)
    proof = _solved(challenge["challenge"], challenge["difficulty"])
    answer = platform._sent("POST", "/api/v1/auth/guest", {}, {"json": {"proof": proof}})
    if answer.status_code != 201:
        raise Failed(f"POST /api/v1/auth/guest answers {answer.status_code}, not 201{_code(answer)}")
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        jar.load(line)
    if "s_access" not in jar:
        raise Failed("POST /api/v1/auth/guest sets no cookie s_access")
    platform.token = jar["s_access"].value
    platform.cookies = "; ".join(f"{name}={cookie.value}" for name, cookie in jar.items())
    return f"{keys} keys; a session of a guest"


def _solved(challenge: str, difficulty: int) -> str:
    from eco2.auth.guests import proves

    return next(proof for nonce in count() if proves(proof := f"{challenge}.{nonce}", difficulty))


def my(platform: Platform) -> str:
    return f"role {platform.ask('GET', '/api/v1/users/me', 200).get('role')}"


def recycling(platform: Platform) -> str:
    path = "/api/v1/recycling/streams"
    body = platform.ask("GET", path, 200, signed_in=False)
    found = next((len(rows) for rows in body.values() if isinstance(rows, list) and rows), 0)
    if not found:
        raise Failed(f"GET {path} has no streams")
    return f"{found} collection streams"


def character(platform: Platform) -> str:
    path = "/api/v1/character/catalog"
    return f"{_some(platform.ask('GET', path, 200), 'items', path)} characters"


def location(platform: Platform) -> str:
    """An answer is enough: an environment may have no places yet."""
    body = platform.ask("GET", f"/api/v1/locations/centers?{SEOUL}", 200)
    return "places near Seoul's city hall" if body else "no place near Seoul's city hall"


def info(platform: Platform) -> str:
    platform.ask("GET", "/api/v1/info/news", 200)
    return "news"


def chat(platform: Platform) -> str:
    """A chat that does not exist is unknown to the service, not to the edge."""
    body = platform.ask("GET", f"/api/v1/chat/{uuid.uuid4()}", 404)
    if body.get("code") != "CHAT_NOT_FOUND":
        raise Failed(f"an unknown chat is answered with {body.get('code')}")
    return "knows which chats there are"


def image(platform: Platform) -> str:
    """A photo goes to the object store by an upload URL."""
    from eco2.cli import client as api

    platform.signed_in()
    with _sentences():
        platform.client.headers["Authorization"] = f"Bearer {platform.token}"
        platform.image = api.upload(platform.client, PHOTO)
    return "took a photo"


def scan(platform: Platform) -> str:
    from eco2.cli import client as api

    if not platform.image:
        raise Skipped("image")
    with _sentences():
        platform.job = api.submit(platform.client, platform.image, None, None)
    platform.end = time.monotonic() + platform.seconds
    return f"job {platform.job['job_id']}"


def broker(platform: Platform) -> str:
    """A worker has taken the job from its queue, and its first event came back."""
    if not platform.job:
        raise Skipped("scan")
    for frame in _frames(platform):
        platform.frames.append(frame)
        if frame.get("stage") not in (None, "queued"):
            return f"a worker began with {frame['stage']}"
    raise Failed(f"no worker took the job in time (events: {_stages(platform)})")


def events(platform: Platform) -> str:
    """The stream goes on to its terminal event, numbered without gaps."""
    if not platform.job:
        raise Skipped("scan")
    platform.frames = list(_frames(platform))
    if not platform.ended:
        raise Failed(f"the stream had no terminal event in time (events: {_stages(platform)})")
    numbers = [frame["seq"] for frame in platform.frames]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Failed(f"events are numbered {numbers}")
    return f"{len(numbers)} events"


def result(platform: Platform) -> str:
    if not platform.ended:
        raise Skipped("events")
    body = platform.ask("GET", platform.job["result_url"], 200)
    if body.get("outcome") not in ("answered", "unsure"):
        raise Failed(f"the scan ended as {body.get('outcome')} ({body.get('code')})")
    return f"outcome {body['outcome']}"


CHECKS: tuple[Callable[[Platform], str], ...] = (
    *(edge, auth, my, recycling, character, location, info, chat),
    *(image, scan, broker, events, result),
)


def _stages(platform: Platform) -> str:
    return ", ".join(f"{frame.get('stage')} {frame.get('status')}" for frame in platform.frames) or "none"


def _frames(platform: Platform) -> Iterator[Json]:
    """The events of the job from the first; ends with the terminal one, or when a read brings nothing in time."""
    import httpx2

    headers = {"Authorization": f"Bearer {platform.signed_in()}"}
    patience = httpx2.Timeout(REQUEST_SECONDS, read=max(platform.end - time.monotonic(), 0.1))
    try:
        with platform.client.sse(platform.job["stream_url"], headers=headers, timeout=patience) as source:
            if source.response.status_code != 200:
                raise Failed(f"GET {platform.job['stream_url']} answers {source.response.status_code}")
            for event in source:
                if event.event not in ("keepalive", "error"):
                    yield json.loads(event.data)
                if event.event == "done":
                    platform.ended = True
                    return
                if time.monotonic() >= platform.end:
                    return
    except httpx2.ReadTimeout:
        return
    except (httpx2.TransportError, httpx2.SSEError, ValueError) as error:
        raise Failed(f"GET {platform.job['stream_url']} broke off ({type(error).__name__})") from None


class _sentences:  # noqa: N801 - a context manager
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from eco2.cli.client import ClientError

        if isinstance(error, ClientError):
            raise Failed(" ".join(filter(None, (error.code, str(error))))) from None


def run(url: str, token: str, seconds: float, told: Callable[[Outcome], object]) -> bool:
    """True when every check passed. `told` gets each outcome at once."""
    import httpx2

    passed = True
    with httpx2.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
        platform = Platform(client, token, seconds)
        for check in CHECKS:
            began = time.monotonic()
            try:
                status, detail = "passed", check(platform)
            except Skipped as needed:
                status, detail = "skipped", f"needs {needed}"
            except (Failed, KeyError, TypeError) as error:
                status = "failed"
                detail = str(error) if isinstance(error, Failed) else f"the answer has another shape ({error!r})"
            told(Outcome(check.__name__, status, detail, round((time.monotonic() - began) * 1000)))
            passed = passed and status == "passed"
        if platform.cookies:
            _leave(platform)
    return passed


def _leave(platform: Platform) -> None:
    import httpx2

    try:
        platform.client.post("/api/v1/auth/logout", headers={"Cookie": platform.cookies})
    except httpx2.TransportError:
        return  # the session ends by itself after a day


def smoke(
    url: str = typer.Argument("", help="Address of the gateway (https://…). Default: the local stack's."),
    token: str = typer.Option(
        "", envvar="ECO2_SMOKE_TOKEN", help="Bearer token of an account to scan with. Default: a session of a guest."
    ),
    seconds: float = typer.Option(
        120.0, "--timeout", min=1, help="Time limit of the scan in seconds; a request has ten."
    ),
    as_json: bool = typer.Option(False, "--json", help="A JSON object a line, for programs."),
) -> None:
    """Test a running platform by requests of each kind: APIs, upload, scan, broker, events. Exit code 1: one failed."""
    from urllib.parse import urlsplit

    from eco2.cli.stack import plain_errors
    from eco2.local import config, state

    if not url:
        with plain_errors():
            try:
                url = state.as_running(config.layout(make=False)).public_url
            except FileNotFoundError:
                raise config.LocalError(
                    "No local stack has run here: start it with `eco2 up`, or name a URL."
                ) from None
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise typer.BadParameter(f"{url} is no address such as https://api.example.com")
    if not run(url, token, seconds, _as_json if as_json else _as_line):
        raise typer.Exit(1)


MARKS = {"passed": "ok", "failed": "FAIL", "skipped": "skip"}


def _as_line(outcome: Outcome) -> None:
    typer.echo(f"{MARKS[outcome.status]:<5}{outcome.check:<11}{outcome.milliseconds:>6} ms  {outcome.detail}")


def _as_json(outcome: Outcome) -> None:
    typer.echo(json.dumps(asdict(outcome), ensure_ascii=False))
