"""The `eco2` command. Commands import what they need when they run, so that help and completion stay fast."""

import typer

from eco2.client import commands as client
from eco2.local import commands

app = typer.Typer(
    name="eco2",
    help="Eco² (이코에코): the waste-sorting coach, on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
local = typer.Typer(help="Only for the local stack.", no_args_is_help=True)
app.add_typer(local, name="local")
commands.register(app, local)
app.command()(client.scan)
local.command()(client.token)


@app.command()
def run(process: str = typer.Argument(help="A name of the table of processes, such as scan-api.")) -> None:
    """Run one process in the foreground, with the settings of the environment."""
    from importlib import import_module

    from eco2.processes import SERVICES

    targets = {row.name: row.target for row in SERVICES if row.target}
    if process not in targets:
        commands.err.print(f"No process {process!r}. Known: {', '.join(targets)}.", highlight=False)
        raise typer.Exit(1)
    module, _, function = targets[process].partition(":")
    getattr(import_module(module), function)()


@app.command()
def migrate() -> None:
    """Bring the database of ECO2_DATABASE_URL to the newest schema."""
    from eco2.core import migrations
    from eco2.core.settings import DatabaseSettings, Settings, load

    class MigrationSettings(DatabaseSettings, Settings):
        pass

    migrations.upgrade(load(MigrationSettings).database_url)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
