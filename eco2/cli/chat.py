"""`eco2 chat`: talk with the agent in a terminal. The answer is shown as it is written; Ctrl-C stops it."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from eco2.cli.scan import BEARER, DEFAULT_USER, URL, USER, err, out, platform

if TYPE_CHECKING:
    import httpx2

Json = dict[str, Any]

API = "/api/v1/chat"
LEAVE = ("/quit", "/q", "/끝")


def chat(
    message: str = typer.Argument(None, help="One question; without it a conversation begins."),
    scan_job: str = typer.Option(None, "--scan", help="Go on from this scan (its job id)."),
    chat_id: str = typer.Option(None, "--chat", help="Go on in this chat."),
    as_json: bool = typer.Option(False, "--json", help="Print the last event of each answer as the API gives it."),
    url: str = URL,
    bearer: str = BEARER,
    user: str = USER,
) -> None:
    """Talk with the agent: follow-ups are about the last thing. Ctrl-C stops an answer, Ctrl-D or /quit leaves."""
    from eco2.cli import client as api

    with platform(url, bearer, user) as client:
        if chat_id is None:
            body = {"scan_job_id": scan_job} if scan_job else {}
            chat_id = str(api.call(client, "POST", API, json=body).json()["id"])
        failed = False
        for words in [message] if message else _typed():
            try:
                failed = not _turn(client, chat_id, words, as_json)
            except api.ClientError as error:
                failed = True
                err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    if not as_json:
        whose = "" if user == DEFAULT_USER else f" --user {user}"
        err.print(f"이어서 하려면: eco2 chat --chat {chat_id}{whose}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _typed() -> Iterator[str]:
    """Lines of the user until the end of the input."""
    if sys.stdin.isatty():
        err.print("무엇을 버리시나요? (그만두려면 Ctrl-D)", highlight=False)
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if line in LEAVE:
            return
        if line:
            yield line


def _turn(client: "httpx2.Client", chat_id: str, words: str, as_json: bool) -> bool:
    """Send a message and show its answer; False where there is none."""
    from eco2.cli import client as api

    job = str(api.call(client, "POST", f"{API}/{chat_id}/messages", json=_message(words)).json()["job_id"])
    shown, done, stopped = "", None, False
    frames = api.events(client, f"{API}/{job}/events")
    while done is None:
        try:
            for frame in frames:
                if frame["stage"] == "done":
                    done = frame
                elif frame["stage"] == "needs_input":
                    if frame["status"] == "started" and not stopped:
                        _give(client, job, frame)
                elif not as_json:
                    shown = _show(shown, frame)
        except KeyboardInterrupt:
            stopped = True
            with contextlib.suppress(api.ClientError):
                api.call(client, "POST", f"{API}/{job}/cancel")
            frames = api.events(client, f"{API}/{job}/events")
    if as_json:
        typer.echo(json.dumps(done, ensure_ascii=False))
    elif done["status"] == "completed":
        _finish(shown, done["result"]["answer"])
    else:
        err.print(done["message"], style="red", markup=False, highlight=False, soft_wrap=True)
    return bool(done["status"] == "completed")


def _message(words: str) -> Json:
    """Whoever types can be asked where they are."""
    return {"message": words, "inputs": ["location"] if sys.stdin.isatty() else []}


def _give(client: "httpx2.Client", job: str, frame: Json) -> None:
    """Ask for the input that the answer waits for, and send it. Where the wait is over by then it is not missed."""
    from eco2.cli import client as api

    err.print(frame["message"], markup=False, highlight=False, soft_wrap=True)
    try:
        data = _place(input("위도,경도 (모르면 Enter): "))
    except EOFError:
        data = {}
    with contextlib.suppress(api.ClientError):
        api.call(client, "POST", f"{API}/{job}/input", json={"type": frame["result"]["type"], "data": data})


def _place(typed: str) -> Json:
    """Latitude and longitude; nothing where there are none."""
    try:
        latitude, longitude = (float(one) for one in typed.replace(",", " ").split())
    except ValueError:
        return {}
    on_earth = abs(latitude) <= 90 and abs(longitude) <= 180  # nan is not
    return {"latitude": latitude, "longitude": longitude} if on_earth else {}


def _show(shown: str, frame: Json) -> str:
    """Print what is new; returns what is printed now."""
    if frame["stage"] == "token":
        text = f"{shown}{frame['content']}"
    elif frame["stage"] == "token_recovery":
        text = f"{frame['accumulated']}"
    else:
        return shown
    if not text.startswith(shown):
        return shown
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text


def _finish(shown: str, answer: str) -> None:
    """Print the rest. What does not go on from what is shown is printed whole."""
    rest = answer[len(shown) :] if answer.startswith(shown) else f"\n\n{answer}"
    out.print(rest, markup=False, highlight=False, soft_wrap=True)
