"""`eco2 release`: which images an environment runs, and how that changes."""

import json
from pathlib import Path

import typer

from eco2.cli import console

CHECKOUT = Path(__file__).parents[2]
release = typer.Typer(
    help="Which images an environment runs. A release is a commit in the Git repository.", no_args_is_help=True
)
ENVIRONMENT = typer.Argument(help="dev, staging or prod.")
SERVICES = typer.Option([], "--service", help="Only this one, as tags name it (scan, scan-worker); may be repeated.")
REVISION = typer.Option("", help="Commit that images were built from. Without one prod takes what staging runs.")
REMOTE = typer.Option("", help="Address of the repository. Default: `origin` of this checkout.")


def _remote(given: str) -> str:
    from eco2.release import repository

    return given or repository.git(CHECKOUT, "remote", "get-url", "origin")


def _told(release_: object, as_json: bool) -> None:
    from eco2.release.repository import Release

    assert isinstance(release_, Release)
    if as_json:
        changes = [{"service": row.service, "from": row.old, "to": row.new} for row in release_.changes]
        typer.echo(json.dumps({"commit": release_.commit, "changes": changes}))
    elif not release_.changes:
        typer.echo("Nothing changes.")
    else:
        typer.echo("\n".join((*map(str, release_.changes), f"commit {release_.commit}")))


@release.command()
def plan(
    environment: str = ENVIRONMENT,
    services: list[str] = SERVICES,
    revision: str = REVISION,
    remote: str = REMOTE,
) -> None:
    """Say what a promotion would change, and change nothing."""
    from eco2.release import repository

    with _Sentences(), repository.clone(_remote(remote), environment) as folder:
        found = repository.plan(folder, environment, services, revision)
    typer.echo("\n".join(map(str, found)) or "Nothing changes.")


@release.command()
def promote(
    environment: str = ENVIRONMENT,
    services: list[str] = SERVICES,
    revision: str = REVISION,
    remote: str = REMOTE,
    as_json: bool = typer.Option(False, "--json", help="Commit and changes, for programs."),
) -> None:
    """Let an environment run images of a revision; Argo CD follows within three minutes."""
    from eco2.release import repository

    with _Sentences():
        _told(repository.promote(_remote(remote), environment, services, revision), as_json)


@release.command()
def rollback(
    environment: str = ENVIRONMENT,
    release_: str = typer.Option("", "--release", metavar="COMMIT", help="This one. Default: the last not undone yet."),
    remote: str = REMOTE,
    as_json: bool = typer.Option(False, "--json", help="Commit and changes, for programs."),
) -> None:
    """Undo a release: its services run again what they ran before. The schema of the database stays."""
    from eco2.release import repository

    with _Sentences():
        _told(repository.rollback(_remote(remote), environment, release_), as_json)


@release.command()
def changed(
    since: str = typer.Argument(help="Commit to compare HEAD with; one that is not there means everything."),
) -> None:
    """Print which services and targets of the image differ since a commit, as JSON."""
    from eco2.release import repository, services

    try:
        paths = repository.git(CHECKOUT, "diff", "--name-only", since, "HEAD").splitlines()
    except repository.ReleaseError:
        found = services.services()
    else:
        found = services.changed(paths)
    targets = sorted({service.target for service in found})
    by_target = {target: [service.name for service in found if service.target == target] for target in targets}
    typer.echo(json.dumps({"targets": targets, "services": by_target}))


class _Sentences:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from eco2.release.repository import ReleaseError

        if isinstance(error, ReleaseError):
            raise typer.Exit(console.say(str(error))) from None
