"""`eco2 reminders …`: the key of Web Push, and how many browsers are reminded of collection days."""

import typer

from eco2.cli import console

reminders = typer.Typer(help="Reminders of collection days by Web Push.", no_args_is_help=True)


@reminders.command()
def key(as_json: bool = console.AS_JSON) -> None:
    """Make a key pair (VAPID). Enter it as the secret `push`: former private keys stay behind the new one, with commas.

    It stores and changes nothing. Browsers that subscribed with a former key are reached with that key.
    """
    from eco2.recycling.push import Key

    made = Key.make()
    row: console.Json = {"public_key": made.public, "private_keys": made.text}
    console.show([row], as_json, "public_key", "private_keys", empty="")


@reminders.command()
def status(as_json: bool = console.AS_JSON) -> None:
    """Count browsers with a reminder: told of the newest day, refused by their push service last, of each key."""
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings
    from eco2.recycling import reminder_store

    async def counted() -> console.Json:
        async with open_database(console.settings(DatabaseSettings), repeat=False) as db:
            keys = [f"{key}: {number}" for key, number in (await reminder_store.by_key(db)).items()]
            return {**await reminder_store.counts(db), "keys": ", ".join(keys)}

    row = console.do(counted())
    console.show([row], as_json, "subscribed", "told", "refused", "keys", empty="")
