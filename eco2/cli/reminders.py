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
    """Count browsers with a reminder: told of the newest day, refused by their push service last, stopped; by key.

    Browsers subscribe with the key that is "offered"; where a "private key is missing", nothing can be sent.
    """
    from eco2.core.postgres import open_database
    from eco2.recycling import push, reminder_store
    from eco2.recycling.push_settings import StatusSettings

    async def counted() -> console.Json:
        settings = console.settings(StatusSettings)
        offered, private = settings.push_public_key, push.read_keys(settings.push_private_keys)
        async with open_database(settings, repeat=False) as db:
            found = {**({offered: 0} if offered else {}), **await reminder_store.by_key(db)}
            said = [
                f"{key}: {number}"
                + (", offered" if key == offered else "")
                + ("" if key in private else ", private key is missing")
                for key, number in found.items()
            ]
            return {**await reminder_store.counts(db), "keys": "; ".join(said)}

    row = console.do(counted())
    console.show([row], as_json, "subscribed", "told", "refused", "stopped", "keys", empty="")
