"""The `eco2` command. Commands import what they need when they run, so that help and completion stay fast."""

import typer

from eco2.auth import commands as auth
from eco2.client import commands as client
from eco2.jobs import commands as jobs
from eco2.knowledge import commands as knowledge
from eco2.local import commands
from eco2.run import TARGETS, advice
from eco2.run import run as start
from eco2.scan import classify
from eco2.scan import commands as scan

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
app.command()(client.choose)
app.command()(knowledge.ask)
app.add_typer(knowledge.knowledge, name="knowledge")
local.command()(client.token)
job = typer.Typer(help="Look into one job.", no_args_is_help=True)
app.add_typer(job, name="job")
job.command()(scan.show)
feedback = typer.Typer(help="What users say about results.", no_args_is_help=True)
app.add_typer(feedback, name="feedback")
feedback.command()(scan.export)
feedback.command()(scan.top)
vision = typer.Typer(help="The embedded vision model.", no_args_is_help=True)
app.add_typer(vision, name="vision")
vision.command()(classify.classify)
jobs.register(app)
app.add_typer(auth.auth, name="auth")


@app.command()
def run(process: str = typer.Argument(help=f"One of: {', '.join(TARGETS)}.")) -> None:
    """Run one process in the foreground, with the settings of the environment."""
    start(process)


@app.command()
def migrate() -> None:
    """Bring the database of ECO2_DATABASE_URL to the newest schema."""
    from eco2.core import migrations
    from eco2.core.settings import DatabaseSettings, Settings, load

    class MigrationSettings(DatabaseSettings, Settings):
        pass

    with advice("eco2 local env"):
        migrations.upgrade(load(MigrationSettings).database_url)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
