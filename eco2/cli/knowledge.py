"""`eco2 ask` and `eco2 knowledge …`: the knowledge base at the command line."""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from eco2.knowledge.stewards.answers import Changed

out = Console()
err = Console(stderr=True)

Data = Annotated[Path | None, typer.Option("--data", help="Folder of the knowledge base; default: the one in use.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

Json = dict[str, Any]

knowledge = typer.Typer(help="Check and inspect the knowledge base.", no_args_is_help=True)


def ask(
    question: Annotated[str, typer.Argument(help="What to get rid of, in your words, Korean or English.")],
    as_json: AsJson = False,
    district: Annotated[str | None, typer.Option(help="Si, gun or gu whose rules apply.")] = None,
    lang: Annotated[str | None, typer.Option(help="ko or en; default: that of the question.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the running stack.")] = False,
    sources: Annotated[bool, typer.Option("--sources", help="Show the sources of the answer.")] = False,
    data: Data = None,
) -> None:
    """Ask how to dispose of something, or when to put it out.

    A running local stack answers, also about collection days. Otherwise the rules of this checkout answer; no
    server and no key is needed.
    """
    if lang not in (None, "ko", "en"):
        raise typer.Exit(_say(f"--lang is ko or en, not {lang}."))
    if not question.strip():
        raise typer.Exit(_say("Ask something, for example: eco2 ask '피자 상자 어떻게 버려요?'"))
    answer = None if offline or data else _of_the_stack(question, district, lang)
    if answer is None:
        answer = _of_the_rules(question, district, lang, data)
    if as_json:
        _print_json(answer)
        return
    out.print(answer["answer"], markup=False, highlight=False, soft_wrap=True)
    for item in answer["items"] if sources else ():
        told = ", ".join(f"{source['publisher']} {source['title']}" for source in item["sources"])
        line = f"{item['name']} → {item['stream_name']} ({item['stream']}){'; ' + told if told else ''}"
        out.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def _of_the_stack(question: str, district: str | None, lang: str | None) -> Json | None:
    """None where no stack runs, or it cannot answer now; then a line says so."""
    from eco2.cli import client as api
    from eco2.cli.scan import mint
    from eco2.local import config, state

    try:
        at = config.layout(make=False)
        last = state.load(at.home)
        if last is None or not last.alive:
            return None
        asked = {"question": question, "district": district, "lang": lang}
        with api.connect(state.as_running(at).public_url, mint("demo")) as client:
            found: Json = api.call(client, "POST", "/api/v1/recycling/ask", json=asked).json()
            return found
    except (api.ClientError, config.LocalError, OSError, ValueError) as error:
        _say(f"The running stack did not answer ({error}); this is from the rules of this checkout.")
        return None


def _of_the_rules(question: str, district: str | None, lang: str | None, data: Path | None) -> Json:
    from eco2.knowledge import days
    from eco2.knowledge.asking import ask as answer_to
    from eco2.knowledge.districts import Districts

    if days.question(Districts.load(data), question, district):
        _say(
            "배출 요일은 켜져 있는 서버가 알아요. `eco2 up`으로 켠 뒤 다시 물어보세요. "
            "(The running stack knows the days: `eco2 up`.)"
        )
    return answer_to(_load(data), question, district, lang)  # type: ignore[arg-type]


@knowledge.command()
def check(data: Data = None) -> None:
    """Check the files: every contradiction, dangling name and missing text, with file and place."""
    from eco2.knowledge.stewards import lint

    problems = lint.check(data)
    for problem in problems:
        out.print(problem, markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(_say(f"{len(problems)} problems."))
    found = _load(data)
    counts = f"{len(found.items)} items, {len(found.rules)} rules, {len(found.situations)} situations"
    out.print(f"Clean: {counts}, {len(found.regions)} districts, version {found.version}.", highlight=False)


@knowledge.command()
def show(
    item: Annotated[str, typer.Argument(help="Id, name or alias of an item.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show an item with the effect of each situation."""
    from eco2.knowledge import search
    from eco2.knowledge.stewards import sheet

    base = _load(data)
    found = base.resolve(item)
    if found is None:
        near = ", ".join(f"{other.id} ({other.ko})" for other in search(base, item)[:5])
        raise typer.Exit(_say(f"{item!r} names no single item." + (f" Perhaps: {near}." if near else "")))
    rows = sheet.of(base, found)
    if as_json:
        _print_json(rows)
        return
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}", "\n".join(value) if isinstance(value, list) else str(value))
    out.print(table, highlight=False)


@knowledge.command()
def diff(
    since: Annotated[str, typer.Argument(help="A git revision, or a folder with another knowledge base.")] = "HEAD",
    answers: Annotated[
        bool, typer.Option("--answers", help="Show evaluation questions with different answers.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Show these questions on the stewards' page; with --answers.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Describe the changes of the files since a revision, or their effect on answers.

    Exit code 1 if --answers finds a worse answer.
    """
    from eco2.knowledge.loading import default_directory
    from eco2.knowledge.stewards import lint, sheet

    if publish and not answers:
        raise typer.Exit(_say("--publish is for --answers."))
    folder = data or default_directory()
    with _state(since, folder) as before:
        if answers:
            _answers(before, folder, publish=publish, as_json=as_json)
            return
        lines = sheet.changes(lint.documents(before), lint.documents(folder))
    if as_json:
        _print_json(lines)
        return
    for line in lines or ["No change."]:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _answers(before: Path, folder: Path, *, publish: bool, as_json: bool) -> None:
    from eco2.knowledge.stewards import answers, evaluation

    old, new = _load(before), _load(folder)
    found = answers.changed(old, new, evaluation.questions(folder))
    if publish:
        _publish(old.version, new.version, found)
    if as_json:
        _print_json([vars(one) for one in found])
    else:
        for one in found:
            worse = f"  worse: {', '.join(one.worse)}" if one.worse else ""
            out.print(f"{one.id}  {one.question}{worse}", style="bold", markup=False, highlight=False, soft_wrap=True)
            for sign, streams, text in (("-", one.streams_were, one.was), ("+", one.streams_are, one.now)):
                told = f"{sign} [{', '.join(streams)}] {text}".replace("\n", f"\n{sign} ")
                out.print(told, markup=False, highlight=False, soft_wrap=True)
        out.print(f"{len(found)} answers differ; {sum(bool(one.worse) for one in found)} are worse.", highlight=False)
    if any(one.worse for one in found):
        raise typer.Exit(1)


def _publish(before: str, after: str, found: "Sequence[Changed]") -> None:
    from eco2.cli import console
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings
    from eco2.recycling import answer_store

    async def do() -> None:
        async with open_database(console.settings(DatabaseSettings), repeat=False) as db:
            await answer_store.publish(db, before, after, found)

    console.do(do())


@contextmanager
def _state(since: str, folder: Path) -> Iterator[Path]:
    """A folder with another state of the knowledge base: `since` itself, or the files as git has them in a revision."""
    if Path(since).is_dir():
        yield Path(since)
        return
    with tempfile.TemporaryDirectory() as temporary:
        command = ["git", "archive", "--format=tar", since, "."]
        archive = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if archive.returncode or since.startswith("-"):
            raise typer.Exit(_say(f"git knows no state {since!r} of {folder}. {archive.stderr.decode().strip()}"))
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(temporary, filter="data")
        yield Path(temporary)


def _load(data: Path | None) -> Any:
    from eco2.knowledge.loading import KnowledgeError, load

    try:
        return load(data)
    except KnowledgeError as error:
        raise typer.Exit(_say(str(error))) from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _say(problem: str) -> int:
    err.print(problem, markup=False, highlight=False, soft_wrap=True)
    return 1
