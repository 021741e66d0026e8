"""Shared by the operator's commands: they work on the servers of the environment (`ECO2_…`), or on the local stack."""

import asyncio
import contextlib
import json
import re
from collections.abc import Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from eco2.core.settings import SettingsGroup

out = Console()
err = Console(stderr=True)

T = TypeVar("T")
S = TypeVar("S", bound="SettingsGroup")
Json = dict[str, Any]

AS_JSON = typer.Option(False, "--json", help="A JSON list, for programs.")


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn an error that a person can do something about into a sentence and exit code 1."""
    from psycopg import OperationalError
    from redis.exceptions import RedisError

    from eco2.core.errors import AppError
    from eco2.local.config import LocalError

    try:
        yield
    except (AppError, LocalError) as error:
        raise typer.Exit(say(str(error))) from None
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise typer.Exit(say(f"The database does not answer: {reason}")) from None
    except RedisError as error:
        raise typer.Exit(say(f"Redis does not answer: {error}")) from None


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Text that others wrote, for a terminal: what would command it, or turn letters around, is shown as its code."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cell(text: str) -> str:
    """Text that others wrote, for a CSV file: a spreadsheet takes what begins so for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def print_json(value: object) -> None:
    typer.echo(plain(json.dumps(value, ensure_ascii=False, indent=2, default=str)))


def say(problem: str) -> int:
    """Print it; the exit code that goes with it."""
    err.print(plain(problem), style="red", markup=False, highlight=False, soft_wrap=True)
    return 1


def do(work: Coroutine[Any, Any, T]) -> T:
    with sentences():
        return asyncio.run(work)


def settings(cls: type[S]) -> S:
    """From the environment where it has all, else from the local stack: never a mixture of both."""
    from pydantic import ValidationError

    from eco2.local import config, state

    try:
        return cls()
    except ValidationError as error:
        missing = ", ".join(f"ECO2_{str(one['loc'][0]).upper()}" for one in error.errors())
    with sentences():
        at = config.layout(make=False)
        if not at.folder("credentials.json").exists():
            raise config.LocalError(f"Set {missing}, or start the local stack with `eco2 up`.")
        found = config.environment(state.as_running(at))
    known: Json = {name.removeprefix("ECO2_").lower(): value for name, value in found.items()}
    return cls(**{name: known[name] for name in cls.model_fields if name in known})


def table(rows: Sequence[Json], *columns: str, empty: str) -> None:
    if not rows:
        out.print(empty)
        return
    shown = Table(*columns, box=None, header_style="bold")
    for row in rows:
        shown.add_row(*("–" if row[name] in (None, "") else Text(plain(str(row[name]))) for name in columns))
    out.print(shown, highlight=False)


def show(rows: Sequence[Json], as_json: bool, *columns: str, empty: str) -> None:
    if as_json:
        print_json(list(rows))
    else:
        table(rows, *columns, empty=empty)
