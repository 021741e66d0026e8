"""`eco2 scan | choose` and `eco2 local token`: the platform as a citizen sees it, from a terminal."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from eco2.cli.stack import plain_errors

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

    import httpx2

    from eco2.auth.settings import TokenSettings

Json = dict[str, Any]

out = Console()
err = Console(stderr=True)

STAGES = {
    "queued": "접수",
    "vision": "사진 보기",
    "rule": "규칙 찾기",
    "answer": "안내 쓰기",
    "reward": "보상",
    "done": "완료",
}


class TokenRole(StrEnum):
    citizen = "citizen"
    steward = "steward"
    operator = "operator"


DEFAULT_USER, LOCAL_PROVIDER = "demo", "kakao"
URL = typer.Option(None, "--url", help="Another gateway (http://…); goes with --token. Default: the local one.")
BEARER = typer.Option(None, "--token", help="Bearer token for the server of --url. Default: one of the local stack.")
USER = typer.Option(DEFAULT_USER, help="User of the local stack, where no --token is given.")
AS_JSON = typer.Option(False, "--json", help="Print the result as the API gives it.")


def _fail(message: str) -> "typer.Exit":
    err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _token_settings(access_ttl: "timedelta") -> "tuple[dict[str, str], TokenSettings]":
    """(environment of the local stack, settings of tokens that live so long)."""
    from eco2.auth.settings import TokenSettings
    from eco2.local import config, state

    environment = config.environment(state.as_running(config.layout(make=False)))
    directory, issuer = Path(environment["ECO2_SIGNING_KEYS_DIR"]), environment["ECO2_ISSUER"]
    return environment, TokenSettings(signing_keys_dir=directory, issuer=issuer, access_ttl=access_ttl)


def mint(name: str, role: str = "citizen") -> str:
    """A bearer token of the user `name` of the local stack, who has an account when my-api runs to make one."""
    from datetime import timedelta

    from eco2.auth import keys

    environment, settings = _token_settings(timedelta(minutes=180))
    account = _account(name, environment["ECO2_GRPC_MY_API"], environment["ECO2_SERVICE_SECRET"])
    return keys.mint(settings, account or keys.user_id(name), LOCAL_PROVIDER if account else "local", role)


def mint_guest() -> str:
    """A bearer token of a new guest, who has an account when my-api runs to make one."""
    import asyncio
    from datetime import timedelta
    from uuid import uuid4

    from eco2.auth import keys
    from eco2.auth.users import Users
    from eco2.contracts.identity import GUEST, guest_id
    from eco2.core import grpc
    from eco2.core.errors import Unavailable

    environment, settings = _token_settings(timedelta(hours=1))
    guest = guest_id(uuid4())

    async def opened() -> None:
        address, secret = environment["ECO2_GRPC_MY_API"], environment["ECO2_SERVICE_SECRET"]
        async with grpc.channel(address, secret) as channel:
            with contextlib.suppress(Unavailable):
                await Users(channel).open_guest(guest, int(settings.access_ttl.total_seconds()))

    asyncio.run(opened())
    return keys.mint(settings, guest, GUEST, GUEST)


def _account(name: str, address: str, secret: str) -> "UUID | None":
    """As if somebody of that name had signed in with the emulated provider."""
    import asyncio

    from eco2.auth.oauth import Profile
    from eco2.auth.users import Users
    from eco2.core import grpc
    from eco2.core.errors import Unavailable

    async def found() -> "UUID | None":
        async with grpc.channel(address, secret) as channel:
            try:
                return await Users(channel).find_or_create(Profile(LOCAL_PROVIDER, f"local:{name}", None, name))
            except Unavailable:
                return None

    return asyncio.run(found())


def token(
    user: str = typer.Option(DEFAULT_USER, help="Any name; the same name is always the same user."),
    guest: bool = typer.Option(False, "--guest", help="A new guest instead, whose data is deleted after an hour."),
    role: TokenRole = typer.Option(TokenRole.citizen, help="The role in the token."),
) -> None:
    """Print a bearer token for a user of the local stack."""
    try:
        with plain_errors():
            typer.echo(mint_guest() if guest else mint(user, role.value))
    except FileNotFoundError:
        raise _fail("There is no signing key yet: start the stack once with `eco2 up`.") from None


@contextlib.contextmanager
def platform(url: str | None, bearer: str | None, user: str) -> "Iterator[httpx2.Client]":
    """A client of the gateway; what goes wrong is said in one sentence."""
    from eco2.cli import client as api
    from eco2.local import config, state

    try:
        with plain_errors():
            address = url or state.as_running(config.layout(make=False)).public_url
            with api.connect(address, bearer or mint(user)) as client:
                yield client
    except FileNotFoundError:
        raise _fail("아직 켠 적이 없어요. `eco2 up`으로 먼저 켜 주세요.") from None
    except api.ClientError as error:
        raise _fail(str(error)) from None


def scan(
    photo: Path = typer.Argument(help="A photo: JPEG, PNG, WebP, HEIC or GIF, up to 15 MB."),
    say: str = typer.Option(None, help="A note about it, such as '라벨을 못 뗐어요'."),
    as_json: bool = AS_JSON,
    url: str = URL,
    bearer: str = BEARER,
    user: str = USER,
) -> None:
    """Scan a photo: show the item, its preparation and its collection stream."""
    with platform(url, bearer, user) as client:
        body = _follow(client, photo, say, quiet=as_json)
        if not as_json and body["needs_choice"] and sys.stdin.isatty():
            _show(body)
            body = _ask(client, body)
            if body["needs_choice"]:
                _say_how_to_choose(body, user)
                return
    _finish(body, user, as_json=as_json)


def choose(
    job: str = typer.Argument(help="The job id that the scan printed."),
    name: str = typer.Argument(help="The item: one of the candidates, or another name."),
    as_json: bool = AS_JSON,
    url: str = URL,
    bearer: str = BEARER,
    user: str = USER,
) -> None:
    """Name the item of an uncertain scan, and get its guide."""
    from eco2.cli import client as api

    with platform(url, bearer, user) as client:
        body = api.choose(client, job, name.strip())
    _finish(body, user, as_json=as_json)


def _finish(body: Json, user: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        _show(body)
        _say_how_to_choose(body, user)
    if body["outcome"] == "failed":
        raise typer.Exit(1)


def _say_how_to_choose(body: Json, user: str) -> None:
    job = body["task_id"]
    out.print(f"작업 번호: {job}", highlight=False, soft_wrap=True)
    if body["needs_choice"] or body["outcome"] == "unsure":
        whose = "" if user == DEFAULT_USER else f" --user {user}"
        out.print(f"무엇인지 알려 주려면: eco2 choose {job} 이름{whose}", markup=False, highlight=False, soft_wrap=True)


def _follow(client: "httpx2.Client", photo: Path, say: str | None, *, quiet: bool) -> Json:
    from eco2.cli import client as api

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task("올리는 중", total=100)

        def show(frame: Json) -> None:
            stage = STAGES.get(frame["stage"], frame["stage"])
            bar.update(task, completed=frame["progress"], description=stage)
            if not quiet and not err.is_terminal and frame["status"] == "completed":
                err.print(f"{frame['progress']:>3}%  {stage}", highlight=False)

        return api.scan(client, photo, say, on_event=show)


def _ask(client: "httpx2.Client", body: Json) -> Json:
    """The completed result, or `body` when the user leaves."""
    from eco2.cli import client as api

    names = [candidate["minor_category"] for candidate in body["candidates"]]
    while True:
        try:
            answer = typer.prompt("번호나 이름을 적어 주세요 (그만두려면 Enter)", default="", show_default=False)
        except typer.Abort:
            answer = ""
        answer = answer.strip()
        if not answer:
            return body
        name = chosen(answer, names)
        if name is None:
            err.print(f"1부터 {len(names)}까지의 번호나 이름을 적어 주세요.", highlight=False)
            continue
        try:
            return api.choose(client, body["task_id"], name)
        except api.ClientError as error:
            if error.code not in ("UNKNOWN_CATEGORY", "VALIDATION_ERROR"):
                raise
            err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)


def chosen(answer: str, names: Sequence[str]) -> str | None:
    """The name that was written or numbered; None for a number without a candidate."""
    if not (answer.isascii() and answer.isdecimal()):
        return answer
    return names[int(answer) - 1] if 0 < int(answer) <= len(names) else None


def _show(body: Json) -> None:
    if body["outcome"] != "answered":
        title, style = ("실패", "red") if body["outcome"] == "failed" else ("알아보지 못했어요", "yellow")
        out.print(Panel(escape(body["error"]), title=title, border_style=style))
        return
    found = body["pipeline_result"]
    text = f"[bold green]{escape(_title(found))}[/]{os.linesep * 2}{_guide(found)}"
    out.print(Panel(text, border_style="green", expand=False))
    for number, candidate in enumerate(body["candidates"], 1):
        share = f"{candidate['confidence']:.0%}"
        out.print(
            f"  {number}. {candidate['minor_category']} ({candidate['middle_category']}, {share})", highlight=False
        )
    if body["reward"]:
        reward = body["reward"]
        out.print(f"🎁 [bold]{reward['name']}[/bold] ({reward['type']}): {reward['dialog']}", highlight=False)


def _title(found: Json) -> str:
    classes = found["classification_result"]["classification"]
    names = (classes["major_category"], classes["middle_category"], classes["minor_category"])
    return " › ".join(dict.fromkeys(names))


def _guide(found: Json) -> str:
    answer = found["final_answer"]
    lines = [f"[bold]배출[/bold]  {found['stream']['name']}" + os.linesep] if found["stream"] else []
    steps = [text for text in answer["disposal_steps"].values() if text]
    lines += [f"{number}. {escape(text)}" for number, text in enumerate(steps, 1)]
    lines += ["", escape(answer["user_answer"])]
    lines += [f"[yellow]! {escape(text)}[/yellow]" for text in answer["insufficiencies"]]
    return os.linesep.join(lines)
