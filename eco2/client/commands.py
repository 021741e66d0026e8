"""`eco2 scan` and `eco2 local token`: the platform as a citizen sees it, from a terminal."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

if TYPE_CHECKING:
    import httpx2

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


def _fail(message: str) -> "typer.Exit":
    err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


def mint(name: str) -> str:
    """A bearer token of the user `name` of the local stack."""
    from datetime import timedelta

    from eco2.auth import keys
    from eco2.auth.settings import TokenSettings
    from eco2.local import config

    environment = config.environment(config.layout())
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]),
        issuer=environment["ECO2_ISSUER"],
        access_ttl=timedelta(minutes=180),
    )
    return keys.mint(settings, keys.user_id(name), "local")


def token(user: str = typer.Option("demo", help="Any name; the same name is always the same user.")) -> None:
    """Print a bearer token for a user of the local stack."""
    try:
        typer.echo(mint(user))
    except FileNotFoundError:
        raise _fail("There is no signing key yet: start the stack once with `eco2 up`.") from None


def scan(
    photo: Path = typer.Argument(help="A photo: JPEG, PNG, WebP, HEIC or GIF, up to 15 MB."),
    say: str = typer.Option(None, help="What to say about it, such as '라벨을 못 뗐어요'."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as the API gives it."),
    url: str = typer.Option(None, help="The gateway; default: the local one."),
    bearer: str = typer.Option(None, "--token", help="Bearer token; default: one of the local stack."),
    user: str = typer.Option("demo", help="User of the local stack."),
) -> None:
    """Scan a photo: what it is, how to prepare it, where it goes."""
    from eco2.client import api
    from eco2.local import config

    try:
        with api.connect(url or config.layout().public_url, bearer or mint(user)) as client:
            body = _follow(client, photo, say, quiet=as_json)
            if not as_json and body["needs_choice"] and sys.stdin.isatty():
                body = _ask(client, body)
    except FileNotFoundError:
        raise _fail("There is no signing key yet: start the stack first with `eco2 up`.") from None
    except (api.ClientError, config.LocalError) as error:
        raise _fail(str(error)) from None
    if as_json:
        typer.echo(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        _show(body)
    if body["status"] != "completed":
        raise typer.Exit(1)


def _follow(client: "httpx2.Client", photo: Path, say: str | None, *, quiet: bool) -> Json:
    from eco2.client import api

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
    from eco2.client import api

    _show(body)
    names = [candidate["minor_category"] for candidate in body["candidates"]]
    answer = typer.prompt("번호나 이름을 적어 주세요 (그만두려면 Enter)", default="", show_default=False)
    if not answer.strip():
        return body
    chosen = names[int(answer) - 1] if answer.isdigit() and 0 < int(answer) <= len(names) else answer
    return api.choose(client, body["task_id"], chosen)


def _show(body: Json) -> None:
    if body["status"] != "completed":
        out.print(Panel(body["error"] or "스캔하지 못했어요.", title="실패", border_style="red"))
        return
    found = body["pipeline_result"]
    out.print(Panel(_guide(found), title=_title(found), border_style="green", expand=False))
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
