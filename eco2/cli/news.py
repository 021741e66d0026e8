"""`eco2 notice …` and `eco2 news sources`. Work on ECO2_DATABASE_URL, or else on the local stack."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eco2.core.postgres import Database
    from eco2.info.store import Article, SourceState

notice = typer.Typer(help="Notices among the news.", no_args_is_help=True)
news = typer.Typer(help="Sources of the news.", no_args_is_help=True)

SEOUL = ZoneInfo("Asia/Seoul")
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]


@asynccontextmanager
async def _database() -> "AsyncIterator[Database]":
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings

    async with open_database(console.settings(DatabaseSettings), repeat=False) as db:
        yield db


@notice.command()
def add(
    title: Annotated[str, typer.Argument(help="One line.")],
    url: Annotated[str, typer.Option(help="A page with details, https://…")],
    text: Annotated[str, typer.Option(help="A sentence or two below the title.")] = "",
    start: Annotated[datetime | None, typer.Option("--from", formats=FORMATS, help="Seoul time; default: now.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=FORMATS, help="Seoul time; default: no end.")] = None,
) -> None:
    """Add a notice to the news. All users see it within half a minute."""
    from eco2.info import service

    async def work() -> "Article":
        now = datetime.now(UTC)
        made = service.notice(title, text, url, _seoul(start), _seoul(until), now)
        async with _database() as db:
            await service.add_notice(db, made)
        return made

    made = console.do(work())
    console.out.print(f"{made.id}: {made.title}", markup=False, highlight=False, soft_wrap=True)


def _seoul(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=SEOUL) if at else None


@notice.command("list")
def list_(as_json: bool = console.AS_JSON) -> None:
    """List all notices, newest first, including ended ones."""
    from eco2.info import service, store

    async def find() -> "list[Article]":
        async with _database() as db:
            return await store.notices(db, 100)

    now = datetime.now(UTC)
    rows: list[console.Json] = [
        {
            "id": one.id if as_json else one.id[:12],
            "status": service.status(one, now),
            "from": _shown(one.published_at),
            "until": _shown(one.ends_at),
            "title": one.title,
            "url": one.url,
        }
        for one in console.do(find())
    ]
    empty = "No notices yet; `eco2 notice add TITLE --url URL` shows one."
    console.show(rows, as_json, "id", "status", "from", "until", "title", empty=empty)


@notice.command()
def end(number: Annotated[str, typer.Argument(metavar="ID", help="The id, or how it begins.")]) -> None:
    """Stop showing a notice."""
    from eco2.info import service

    async def work() -> str:
        async with _database() as db:
            return await service.end_notice(db, number)

    console.out.print(f"{console.do(work())}: ended", highlight=False)


@news.command()
def sources(as_json: bool = console.AS_JSON) -> None:
    """Show the state of each source: last answer, last error, next attempt.

    `eco2 task run news.feeds` (news.naver, news.newsdata) asks now.
    """
    from eco2.info import store

    async def find() -> "list[SourceState]":
        async with _database() as db:
            return await store.states(db)

    rows: list[console.Json] = [
        {
            "source": one.name,
            "answered": _shown(one.succeeded_at),
            "added": one.added,
            "failures": one.failures,
            "error": one.error,
            "not_before": _shown(one.not_before),
        }
        for one in console.do(find())
    ]
    columns = ("source", "answered", "added", "failures", "error", "not_before")
    console.show(rows, as_json, *columns, empty="No source was asked yet; `eco2 task run news.feeds` asks the feeds.")


def _shown(at: datetime | None) -> str | None:
    return at.astimezone(SEOUL).isoformat(sep=" ", timespec="minutes") if at else None
