"""The operator's commands of sign-in: `eco2 auth verify`, `eco2 auth keys`, `eco2 auth role`."""

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from eco2.auth.keys import KeyRow
    from eco2.auth.settings import TokenSettings
    from eco2.core.postgres import Database

T = TypeVar("T")


class Granted(StrEnum):
    steward = "steward"
    operator = "operator"


auth = typer.Typer(help="Sign-in: tokens of providers, signing keys, roles.", no_args_is_help=True)
keys = typer.Typer(
    help="Keys that sign tokens. Rotate: `add`, wait until the new one signs, `retire` the old one.",
    no_args_is_help=True,
)
auth.add_typer(keys, name="keys")
role = typer.Typer(help="Roles of users: stewards and operators.", no_args_is_help=True)
auth.add_typer(role, name="role")


@auth.command()
def verify(
    provider: str = typer.Argument(help="kakao, google or naver."),
    seconds: float = typer.Option(20.0, min=1, max=120, help="Time limit for the worker."),
) -> None:
    """Ask a provider for the owner of an access token, which is read from standard input or a prompt.

    The request goes through `q.api`, like those of the services. Exit code 1 unless the provider knows the token.
    """
    from dataclasses import asdict

    from eco2.auth import verification
    from eco2.core import redis
    from eco2.core.settings import CacheSettings, TasksBrokerSettings
    from eco2.messaging.broker import Publisher

    class Settings(CacheSettings, TasksBrokerSettings):
        pass

    piped = not sys.stdin.isatty()
    token = sys.stdin.readline().strip() if piped else typer.prompt("Access token", hide_input=True)
    settings = console.settings(Settings)

    async def ask() -> verification.Verification:
        publisher = Publisher(settings.tasks_broker_url)
        async with redis.connect(settings.redis_cache_url, decode_responses=False) as cache:
            try:
                number = await verification.order(cache, publisher, provider, token)
                return await verification.outcome(cache, number, seconds)
            finally:
                await publisher.close()

    told = console.do(ask())
    if told.status == "refused":
        raise typer.Exit(console.say(f"refused: {provider} does not know this token, or no longer."))
    if told.profile is None:
        raise typer.Exit(console.say(f"{told.status}: {told.detail}"))
    profile = asdict(told.profile)
    console.table([profile], *profile, empty="")


@keys.command("list")
def keys_list(as_json: bool = console.AS_JSON) -> None:
    """List the keys with their state."""
    console.show([_shown(row) for row in _rows()], as_json, "kid", "made", "state", empty="No keys; `add` makes one.")


@keys.command("add")
def keys_add() -> None:
    """Create a key. It verifies at once, and signs once the edge has had the time to read it."""
    from eco2.auth import keys as ring
    from eco2.auth.settings import TokenSettings

    settings = console.settings(TokenSettings)
    try:
        path = ring.create_key(settings.signing_keys_dir)
    except OSError as error:
        where = f"Cannot write to {settings.signing_keys_dir}: {error.strerror}."
        raise typer.Exit(console.say(f"{where} Where it is a mounted secret, add the key there.")) from None
    minutes = settings.key_lead.total_seconds() / 60
    console.out.print(f"{path.stem}: signs in {minutes:.0f} minutes.", highlight=False)


@keys.command("retire")
def keys_retire(
    kid: str = typer.Argument(help="The id, from `list`."),
    now: bool = typer.Option(
        False, "--now", help="Even while its tokens are valid; their owners have to sign in again."
    ),
) -> None:
    """Delete a key that no longer signs."""
    found = {row.kid: row for row in _rows()}
    if kid not in found:
        raise typer.Exit(console.say(f"There is no key {kid!r}; `eco2 auth keys list` shows them."))
    row = found[kid]
    if row.signs or len(found) == 1:
        raise typer.Exit(console.say("This key signs; add another one, and wait until that signs."))
    if row.signs_from is not None:
        raise typer.Exit(console.say("This key is new and will sign; retire the old one when it does."))
    if row.needed_until > datetime.now(UTC) and not now:
        until = f"{row.needed_until:%Y-%m-%d %H:%M} UTC"
        raise typer.Exit(console.say(f"Tokens that it signed count until {until}; --now ends them."))
    row.path.unlink()
    console.out.print(f"{kid} is gone; the edge forgets it within five minutes.", highlight=False)


@role.command("grant")
def role_grant(
    user: UUID = typer.Argument(help="The user's id, from `GET /api/v1/users/me`."),
    name: Granted = typer.Option(Granted.steward, "--role", help="The new role."),
    by: str = typer.Option("operator", help="Your name; it is stored."),
) -> None:
    """Make a user a steward or an operator. Open sessions get the role when they are refreshed."""
    from eco2.auth import roles

    async def do(db: "Database", _: "TokenSettings") -> None:
        await roles.grant(db, user, name.value, by.strip() or "operator")

    _with_database(do)
    console.out.print(f"{user} is {name.value} from the next sign-in or refresh on.", highlight=False)


@role.command("withdraw")
def role_withdraw(user: UUID = typer.Argument(help="The user's id.")) -> None:
    """Make a user a citizen again. Their sessions end; they have to sign in again."""
    from eco2.auth import roles

    async def do(db: "Database", settings: "TokenSettings") -> int:
        return await roles.withdraw(db, user, settings.access_ttl)

    ended = _with_database(do)
    console.out.print(f"{user} is a citizen; {ended} sessions ended.", highlight=False)


@role.command("list")
def role_list(as_json: bool = console.AS_JSON) -> None:
    """List users with a role, and who granted it."""
    from eco2.auth import store

    async def find(db: "Database", _: "TokenSettings") -> list[console.Json]:
        found = await store.roles(db)
        return [{**vars(one), "granted_at": f"{one.granted_at:%Y-%m-%d %H:%M}"} for one in found]

    console.show(_with_database(find), as_json, "user_id", "role", "granted_by", "granted_at", empty="Nobody has one.")


def _with_database(work: "Callable[[Database, TokenSettings], Awaitable[T]]") -> T:
    from eco2.auth.settings import TokenSettings
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings

    class Settings(TokenSettings, DatabaseSettings):
        pass

    settings = console.settings(Settings)

    async def run() -> T:
        async with open_database(settings, repeat=False) as db:
            return await work(db, settings)

    return console.do(run())


def _rows() -> "list[KeyRow]":
    from eco2.auth import keys as ring
    from eco2.auth.settings import TokenSettings

    return ring.rows(console.settings(TokenSettings))


def _shown(row: "KeyRow") -> console.Json:
    if row.signs:
        state = "signs"
    elif row.signs_from is not None:
        state = f"verifies, signs from {row.signs_from:%H:%M:%S} UTC"
    else:
        state = f"verifies, needed until {row.needed_until:%Y-%m-%d %H:%M} UTC"
    return {"kid": row.kid, "made": f"{row.made_at:%Y-%m-%d %H:%M:%S} UTC", "state": state}
