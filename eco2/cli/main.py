"""The `eco2` command. Commands import what they need when they run, so that help and completion stay fast."""

import typer

from eco2 import __version__
from eco2.cli import (
    auth,
    chat,
    console,
    infra,
    jobs,
    knowledge,
    models,
    news,
    operations,
    places,
    regions,
    release,
    reminders,
    scan,
    smoke,
    stack,
    text,
    top,
    trace,
    vision,
)
from eco2.run import TARGETS, advice
from eco2.run import run as start

app = typer.Typer(
    name="eco2",
    help="Eco² (이코에코): the waste-sorting coach, on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
local = typer.Typer(help="Commands for the local stack only.", no_args_is_help=True)
app.add_typer(local, name="local")
stack.register(app, local)
app.command()(top.top)
app.command()(trace.trace)
app.command()(scan.scan)
app.command()(scan.choose)
app.command()(smoke.smoke)
app.command()(chat.chat)
app.command()(knowledge.ask)
app.add_typer(knowledge.knowledge, name="knowledge")
app.add_typer(regions.regions, name="regions")
app.add_typer(news.notice, name="notice")
app.add_typer(news.news, name="news")
local.command()(scan.token)
app.add_typer(places.places, name="places")
app.add_typer(models.llm, name="llm")
job = typer.Typer(help="Look into one job.", no_args_is_help=True)
app.add_typer(job, name="job")
job.command()(jobs.show)
feedback = typer.Typer(help="Users' feedback about results.", no_args_is_help=True)
app.add_typer(feedback, name="feedback")
feedback.command()(jobs.export)
feedback.command()(jobs.top)
embedded = typer.Typer(help="The embedded vision model.", no_args_is_help=True)
app.add_typer(embedded, name="vision")
embedded.command()(vision.classify)
operations.register(app)
app.add_typer(auth.auth, name="auth")
app.add_typer(infra.infra, name="infra")
app.add_typer(release.release, name="release")
app.add_typer(reminders.reminders, name="reminders")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eco2 {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


@app.command()
def run(process: str = typer.Argument(help=f"One of: {', '.join(TARGETS)}.")) -> None:
    """Run one process in the foreground, with the settings of the environment."""
    start(process)


@app.command()
def migrate(
    wait: float = typer.Option(None, metavar="SECONDS", help="Only wait, at most so long, until the schema is there."),
) -> None:
    """Migrate the database of ECO2_DATABASE_URL to the newest schema."""
    from eco2.core import schema
    from eco2.core.settings import DatabaseSettings, Settings, load

    class MigrationSettings(DatabaseSettings, Settings):
        pass

    with advice("eco2 local env"):
        url = load(MigrationSettings).database_url
    with console.sentences():
        if wait is None:
            from eco2.core import migrations

            migrations.upgrade(url)
        else:
            schema.wait(url, wait)


def main() -> None:
    text.prepare()
    app()
